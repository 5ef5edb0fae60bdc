package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/poller"
)

// Main runs the command with its flags and gives its exit status: 0 when all runs
// were good, 1 when some failed, a server was left out, nothing could be compared or a
// figure is known of no server, 2 for wrong flags.
// Tables go to stdout; progress, notes and errors, a line each, to stderr. When
// the context ends it shows what it has so far. It starts this very program
// again as the client, so it must be called by millbench. One call at a time.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := &options{}
	set := o.flags()
	if _, err := set.Read(args, nil); err != nil {
		return set.Refuse(err, stdout, stderr)
	}
	s := &study{options: o, stderr: stderr}
	if err := s.prepare(ctx, args); err != nil {
		return set.Refuse(err, stdout, stderr)
	}
	err := s.compare(ctx)
	if err == nil {
		err = s.show(stdout)
	}
	if err != nil {
		return set.Fail(err, stderr)
	}
	if ctx.Err() != nil || s.leftOut || !s.result.good() {
		return flags.Failed
	}
	return flags.Done
}

// study is one comparison on its way.
type study struct {
	*options
	lab    lab
	root   string // of the checkout; "": no server is built
	self   string // this program
	stderr io.Writer
	result Comparison

	leftOut bool // a server could not be made
}

// note keeps what a reader should know, and says it now.
func (s *study) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.result.Notes = append(s.result.Notes, text)
	fmt.Fprintln(s.stderr, "note:", text)
}

// prepare finds what the comparison needs, before it takes its time.
func (s *study) prepare(ctx context.Context, args []string) error {
	if s.needsCheckout() {
		dir, err := os.Getwd()
		if err == nil {
			s.root, err = findRoot(dir)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range []struct{ flag, path string }{{"json", s.json}, {"report", s.report}, {"markdown", s.markdown}} {
		if info, err := os.Stat(filepath.Dir(f.path)); err != nil || !info.IsDir() {
			return fmt.Errorf("--%s: %s: its folder is not there", f.flag, f.path)
		}
	}
	if s.pictures != "" {
		if err := os.MkdirAll(s.pictures, 0o755); err != nil {
			return fmt.Errorf("--pictures: %w", err)
		}
	}
	// A server that does not raise its limit of descriptors inherits ours.
	if limit, _, err := poller.RaiseDescriptorLimit(); err != nil {
		s.note("the limit of descriptors stays at %d: %v", limit, err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s.self = program
	s.lab = lab{
		warmup: s.warmup, duration: s.duration, slice: min(s.slice, s.duration), startLimit: s.startLimit, runLimit: s.runLimit,
		serverCPUs: s.serverCPUs, clientCPUs: s.clientCPUs, mostStolen: s.mostStolen,
		port: firstPort + rand.IntN(lastPort-firstPort), // another one than another comparison just now
	}
	if err := s.leaveOut(); err != nil {
		return err
	}
	s.result = Comparison{
		Notes:   s.result.Notes,
		Command: s.commandLine(args), Started: time.Now().Round(time.Second),
		ServerCPUs: s.serverCPUs, ClientCPUs: s.clientCPUs, Generator: s.generator,
		Repetitions: s.repetitions, Warmup: s.warmup, Duration: s.duration, Slice: s.lab.slice,
		Width: cmp.Or(s.until, usualWidth), Until: s.until > 0, Confidence: confidence, AtMost: s.atMost, MostStolen: s.mostStolen,
	}
	if s.until > 0 {
		s.result.Confidence = ofEachLook(looks(s.repetitions))
	}
	if s.generator != millbenchName {
		s.result.Slice = 0
	}
	return s.pin(ctx)
}

func (s *study) needsCheckout() bool {
	return slices.ContainsFunc(s.servers, func(o server) bool { return o.make != nil })
}

// pin has servers and client run on their CPUs.
func (s *study) pin(ctx context.Context) error {
	if _, err := exec.LookPath("taskset"); err != nil {
		s.note("no taskset here (util-linux): servers and client share all CPUs and disturb each other")
		s.result.ServerCPUs, s.result.ClientCPUs = "", ""
		s.lab.serverCPUs, s.lab.clientCPUs = "", "" // what the host takes of any counts
		return nil
	}
	var err error
	if s.lab.serverPin, err = taskset(ctx, s.serverCPUs); err != nil {
		return fmt.Errorf("--server-cpus: %w", err)
	}
	if s.lab.clientPin, err = taskset(ctx, s.clientCPUs); err != nil {
		return fmt.Errorf("--client-cpus: %w", err)
	}
	return nil
}

// taskset gives what to put before a command for it to run on these CPUs only.
func taskset(ctx context.Context, cpus string) ([]string, error) {
	if cpus == "" {
		return nil, nil
	}
	pin := []string{"taskset", "-c", cpus}
	if out, err := exec.CommandContext(ctx, pin[0], append(pin[1:], "true")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s (%w)", firstLine(string(out)), err)
	}
	return pin, nil
}

// compare builds the servers and runs the scenarios, one after another.
func (s *study) compare(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "millbench-compare-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the system's temporary folder anyway
	base := s.servers[0].name
	s.build(&builder{ctx: ctx, root: s.root, out: dir})
	switch {
	case ctx.Err() != nil:
		return errors.New("stopped before the first run")
	case len(s.servers) == 0:
		return errors.New("no server is left to compare")
	case s.servers[0].name != base:
		return fmt.Errorf("%s is left out, so there is nothing to compare with", base)
	}
	if s.lab.generator, err = generators[s.generator](ctx, s.self, dir); err != nil {
		return fmt.Errorf("--load: %w", err)
	}
	if s.lab.certificate, err = newCertificate(dir); err != nil {
		return err
	}
	s.announce()
	all := s.runAll(ctx)
	for _, result := range all {
		if len(result.Runs) > 0 || ctx.Err() == nil {
			s.result.summarize(&result)
			s.result.Scenarios = append(s.result.Scenarios, result)
		}
	}
	if ctx.Err() != nil {
		s.note("it was stopped before its end")
	}
	return nil
}

// announce tells how long it will take.
func (s *study) announce() {
	runs := 0
	for _, sc := range s.scenarios {
		for i := range s.servers {
			if s.servers[i].takesPart(sc.name) {
				runs += s.repetitions
			}
		}
	}
	least := time.Duration(runs) * (s.warmup + s.duration)
	if s.until > 0 {
		fmt.Fprintf(s.stderr, "at most %v\n", time.Duration(len(s.scenarios))*s.atMost)
		return
	}
	fmt.Fprintf(s.stderr, "%d runs, at least %v\n", runs, least.Round(time.Second))
}

// build makes the servers; one that can not be made is left out.
func (s *study) build(b *builder) {
	var ready []server
	for _, o := range s.servers {
		if o.make != nil {
			fmt.Fprintf(s.stderr, "building %s\n", o.name)
			made, err := o.make(b)
			if err != nil {
				s.leftOut = true
				s.note("%s is left out: %v", o.name, err)
				continue
			}
			o.command, o.version = made.command, made.version
		}
		ready = append(ready, o)
		s.result.Servers = append(s.result.Servers, Server{
			Name: o.name, Version: o.version, Path: o.path, Command: s.shown(o.command, b.out), Scenarios: o.scenarios,
		})
	}
	s.servers = ready
}

// shown gives a command as a reader could type it in the checkout.
func (s *study) shown(argv []string, out string) string {
	if len(argv) == 3 && argv[0] == "sh" {
		return strings.TrimPrefix(argv[2], "exec ")
	}
	line := strings.ReplaceAll(strings.Join(argv, " "), out+string(filepath.Separator), "")
	return strings.ReplaceAll(line, s.root+string(filepath.Separator), "")
}

// commandLine is what gives this comparison again.
func (s *study) commandLine(args []string) string {
	words := []string{"millbench", "compare"}
	if s.root != "" {
		words = []string{"go", "run", "./cmd/millbench", "compare"}
	}
	return flags.CommandLine(append(words, args...)...)
}
