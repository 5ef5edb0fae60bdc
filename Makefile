# millrace: `make test` installs what the checks need and passes all of them.
# `make help` lists the rest.

SHELL       := /bin/bash
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 3s
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
BENCH       ?=
MICRO       := (Message|Upgrade|Broadcast|NetworkAlone)$$
COUNT       ?= 6
BARS        ?=
# One package at a time: beside a load the server's handlers look slow to its watchdog.
GOTEST      := go test -count=1 -timeout=10m -p 1
OTHERS      := $(patsubst %/go.mod,%,$(wildcard interop/go.mod bench/peers/go.mod examples/go.mod))
MODULES     := . $(OTHERS)

# A cross build checks that it compiles; the tests are type-checked too, once
# for each operating system.
CROSS     := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64 windows/amd64
CROSS_VET := darwin/arm64 freebsd/amd64 windows/amd64

CHECKS := deps fmt vet staticcheck tidy modules race easygo plain fuzz interop cross

.NOTPARALLEL: # the checks share two cores
.PHONY: all help build test bench benchstat bars clean $(CHECKS)

heading = @printf '\n== %s == (%s)\n' "$(1)" "$$(date +%T)"

all: build

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 20

build: ## bin/millrace
	go build -o bin/millrace ./cmd/millrace

test: $(CHECKS) ## all checks, about half an hour on two cores
	$(call heading,all checks passed)

deps: ## what the checks need from outside (DEPS=no: take the machine as it is)
	$(call heading,deps: what the checks need)
	@scripts/deps.sh

fmt: ## gofmt
	$(call heading,fmt: gofmt)
	@out=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l) && \
		if [ -n "$$out" ]; then printf 'not formatted, run gofmt -w:\n%s\n' "$$out"; exit 1; fi

vet: ## go vet
	$(call heading,vet: go vet)
	@for m in $(MODULES); do echo "module $$m"; (cd $$m && go vet ./...) || exit 1; done

staticcheck: ## staticcheck, at the pinned version and outside our go.mod
	$(call heading,staticcheck: $(STATICCHECK))
	@for m in $(MODULES); do echo "module $$m"; (cd $$m && go run $(STATICCHECK) ./...) || exit 1; done

tidy: ## the shape of the source: imports, function length, package docs
	$(call heading,tidy: the shape of the source)
	$(GOTEST) .

modules: ## go.mod and go.sum are complete and nothing more
	$(call heading,modules: go mod tidy -diff and go mod verify)
	@for m in $(MODULES); do echo "module $$m"; (cd $$m && go mod tidy -diff && go mod verify) || exit 1; done

race: ## all tests under the race detector
	$(call heading,race: go test -race)
	$(GOTEST) -race ./...

easygo: ## the server's tests on the easygo engine
	$(call heading,easygo: the server on the easygo engine)
	MILLRACE_POLLER=easygo $(GOTEST) -race ./server/...

plain: ## all tests without the race detector, which counts allocations
	$(call heading,plain: go test)
	$(GOTEST) ./...

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
	go run ./cmd/millbench compare --servers floor,millrace,stalled --load wsload --bars --reps 5 --warmup 1s --duration 3s $(BARS)

clean: ## remove what was built
	rm -rf bin
