# millrace: `make check` while you work, `make test` before a commit, `make thorough`
# for the rest of what CI runs. CONTRIBUTING.md says what runs where and why;
# `make help` lists what else there is.

SHELL       := /bin/bash
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 3s
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
BENCH       ?=
MICRO       := (Message|Upgrade|Broadcast|NetworkAlone)$$
COUNT       ?= 6
BARS        ?=
CHAOS       ?= 6
# One package at a time: beside a load the server's handlers look slow to its watchdog.
# Linked without what only a debugger reads, which takes half the time.
ONEBYONE    := -p 1 -vet=off -ldflags=-w
GOTEST      := go test -count=1 -timeout=20m $(ONEBYONE)
# Compilers and checkers end soon: they may collect garbage more seldom than servers. That
# takes 60 % of staticcheck's CPU time away and a fifth of the compilers'.
SELDOM      := GOGC=400
# What -p 1 would compile on one core is compiled before, and not linked.
COMPILE     := $(SELDOM) go list -export -test -f '{{""}}'
OTHERS      := $(patsubst %/go.mod,%,$(wildcard interop/go.mod bench/peers/go.mod pubsub/nats/natstest/go.mod examples/go.mod))
MODULES     := . $(OTHERS)

# A cross build checks that it compiles; the tests are type-checked too, once
# for each operating system.
CROSS     := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64 windows/amd64
CROSS_VET := darwin/arm64 freebsd/amd64 windows/amd64

# A+B: A beside B, see scripts/checks.sh.
EVERYDAY := deps fmt vet staticcheck+racecompile+shortplain raceunder+shortrace
THOROUGH := alldeps modules others+cross+race easygo chaos fuzz+plain browsers interop

# Where goroutines meet, the everyday tests have the race detector on: in these packages, and
# in the server's tests of these chapters. The rest has it in make thorough.
RACED       := ./asynclog ./internal/addrcount ./internal/buffer ./internal/heapwatch ./internal/loop ./internal/outqueue ./internal/rate ./poller/... ./pubsub ./pubsub/gateway/...
CHAPTERS    := chaos group conn_close conn_context conn_hook conn_pause conn_send conn_teardown conn_wait conns drain handler http_handoff http_mount limit_conn loop stats
RACED_TESTS  = ^($(shell sed -nE 's/^func (Test[A-Za-z0-9_]+).*/\1/p' $(wildcard $(CHAPTERS:%=server/%*_test.go)) | paste -sd'|'))$$$$
# These load a server, or run programs: too much for every few minutes.
LOADS  := /bench(/|$$)|/cmd/|/internal/(compare|load|process|report|wsload)$$
UNRACED = $(shell go list ./... | grep -vxF "$$(go list $(RACED))")
# These take the longest, so they begin first.
LONGEST := ./server ./internal/load
# Most of the server's tests wait for something. Under the race detector they also work.
WAITING      := -parallel 8
RACE_WAITING := -parallel 4
LIGHT   = $(shell go list ./... | grep -vE '$(LOADS)')
# Under the race detector package load's cases that are more of the same are left to plain,
# and the pages, which one goroutine draws, too.
LOAD       := ./internal/load
ALL        = $(shell go list ./...)
RACED_FULL = $(filter-out %/internal/load %/internal/report,$(ALL))
BROWSER := Browser

.NOTPARALLEL: # the checks share two cores
.PHONY: all help build check test thorough bench benchstat bars results clean $(subst +, ,$(EVERYDAY)) tidy $(subst +, ,$(THOROUGH))

heading = @printf '\n== %s == (%s)\n' "$(1)" "$$(date +%T)"

all: build

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 20

build: ## bin/millrace
	go build -o bin/millrace ./cmd/millrace

check: fmt ## while you work: formatting, vet, the tests of the library that are fast; a minute or two
	$(call heading,check: go vet)
	@$(SELDOM) go vet ./...
	$(call heading,check: go test -short)
	@$(COMPILE) $(LIGHT)
	go test -short -timeout=20m $(ONEBYONE) $(WAITING) $(LIGHT)

test: ## before a commit: the everyday checks, every package's tests among them; 5 minutes on two cores
	@scripts/checks.sh $(EVERYDAY)

thorough: ## what make test leaves out: everything under -race and without, easygo, chaos, browsers, fuzzing, interop; 35 minutes
	@scripts/checks.sh $(THOROUGH)

deps: ## what make test needs from outside (DEPS=no: take the machine as it is)
	$(call heading,deps: what make test needs)
	@scripts/deps.sh everyday

alldeps: ## what make thorough needs from outside: browsers, balancers, npm packages (DEPS=no: likewise)
	$(call heading,alldeps: what make thorough needs)
	@scripts/deps.sh thorough

fmt: ## gofmt
	$(call heading,fmt: gofmt)
	@out=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l) && \
		if [ -n "$$out" ]; then printf 'not formatted, run gofmt -w:\n%s\n' "$$out"; exit 1; fi

vet: ## go vet
	$(call heading,vet: go vet)
	$(SELDOM) go vet ./...

staticcheck: ## staticcheck, at the pinned version and outside our go.mod
	$(call heading,staticcheck: $(STATICCHECK))
	$(SELDOM) go run $(STATICCHECK) ./...

others: ## go vet and staticcheck in the other modules
	$(call heading,others: go vet and staticcheck in $(OTHERS))
	@for m in $(OTHERS); do echo "module $$m"; (cd $$m && $(SELDOM) go vet ./... && $(SELDOM) go run $(STATICCHECK) ./...) || exit 1; done

tidy: ## the shape of the source: imports, function length, package docs
	$(call heading,tidy: the shape of the source)
	$(GOTEST) .

modules: ## go.mod and go.sum are complete and nothing more
	$(call heading,modules: go mod tidy -diff and go mod verify)
	@for m in $(MODULES); do echo "module $$m"; (cd $$m && go mod tidy -diff && go mod verify) || exit 1; done

shortplain: ## the everyday tests of all packages that shortrace has not, and of the server
	$(call heading,shortplain: go test -short)
	@$(COMPILE) $(UNRACED)
	$(GOTEST) -p 2 -short $(WAITING) $(LONGEST) $(UNRACED)

racecompile: # what shortrace needs, compiled while the tests before it wait
	@$(COMPILE) -race $(RACED) ./server

raceunder: racecompile ## the everyday tests of what is below the server, under the race detector
	$(call heading,raceunder: go test -short -race)
	$(GOTEST) -short -race $(RACED)

shortrace: racecompile ## the everyday tests of the server where goroutines meet, under the race detector
	$(call heading,shortrace: go test -short -race ./server)
	@echo '$(GOTEST) -short -race $(RACE_WAITING) -run (the chapters $(CHAPTERS)) ./server'
	@$(GOTEST) -short -race $(RACE_WAITING) -run '$(RACED_TESTS)' ./server

race: ## the tests under the race detector, but for those in browsers, whose server is a program without it
	$(call heading,race: go test -race)
	@$(COMPILE) -race ./...
	$(GOTEST) -race $(RACE_WAITING) -skip $(BROWSER) $(RACED_FULL)
	$(GOTEST) -race -short $(LOAD)

easygo: ## the server's tests on the easygo engine
	$(call heading,easygo: the server on the easygo engine)
	MILLRACE_POLLER=easygo $(GOTEST) -race $(RACE_WAITING) ./server/...

chaos: ## the server with everything on, on a network that fails, with CHAOS=6 seeds
	$(call heading,chaos: $(CHAOS) seeds)
	MILLRACE_CHAOS=$(CHAOS) $(GOTEST) -race -run '^TestChaos$$' ./server

plain: ## all tests without the race detector, some of which count allocations
	$(call heading,plain: go test)
	@$(COMPILE) ./...
	$(GOTEST) $(WAITING) -skip $(BROWSER) $(filter-out %/internal/load,$(ALL))
	$(GOTEST) $(LOAD)

browsers: ## the tests in a browser, against the program
	$(call heading,browsers: go test -run $(BROWSER))
	$(GOTEST) -run $(BROWSER) ./cmd/millrace

fuzz: ## each fuzz target for FUZZTIME (3s)
	$(call heading,fuzz: each target for $(FUZZTIME))
	@scripts/fuzz.sh $(FUZZTIME)

interop: ## other people's clients and servers, and the examples, in modules of their own
	$(call heading,interop: other people's clients and servers)
	@for m in $(OTHERS); do echo "module $$m"; (cd $$m && $(GOTEST) -race ./...) || exit 1; done

cross: ## builds for the other operating systems
	$(call heading,cross: builds for $(words $(CROSS)) platforms)
	@export CGO_ENABLED=0; \
	for p in $(CROSS); do echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} go build ./... || exit 1; done; \
	for p in $(CROSS_VET); do echo "vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} go vet ./... || exit 1; done

bench: ## user-space micro-benchmarks, as benchstat reads them, 4 minutes (BENCH=regexp: others of ws and server; COUNT=6)
ifeq ($(BENCH),)
	@go test -c -o bin/server.test ./server
	@# Not COUNT times in a row: a bad minute of the machine is to hit one run of each, not all of one.
	@for i in $$(seq $(COUNT)); do \
		bin/server.test -test.run '^$$' -test.bench '$(MICRO)' -test.benchmem -test.benchtime 1s -test.cpu 1 || exit 1; done
	@bin/server.test -test.run '^$$' -test.bench ConnectionMemory -test.benchtime 1x -test.cpu 2
else
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -cpu 1 -count $(COUNT) ./ws ./server
endif

benchstat: ## what changed between two outputs of make bench (OLD=file NEW=file)
	@go run $(BENCHSTAT) $(OLD) $(NEW)

bars: ## the goals of docs/performance.md, against the bare C floor, side by side (BARS="--reps 1 --duration 1s": quick)
	go run ./cmd/millbench compare --servers floor,millrace,stalled --load wsload --bars --reps 6 --warmup 1s --duration 3s $(BARS)

# A repetition of round-500ms takes up to 8 minutes, so there would never be an interval.
results: ## bench/RESULTS.md anew: all rivals, nearly all scenarios, more than 4 hours (RESULTS="--at-most 1m": quick)
	go run ./cmd/millbench compare --scenarios all,-round-500ms --until 5% --at-most 10m --bars --markdown bench/RESULTS.md --pictures bench/results $(RESULTS)

clean: ## remove what was built
	rm -rf bin
