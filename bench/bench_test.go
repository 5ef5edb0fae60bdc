package bench_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/server"
)

func TestMain(m *testing.M) {
	if isChild, exitCode := bench.RunChild(); isChild {
		os.Exit(exitCode)
	}
	os.Exit(m.Run())
}

// serve gives the URL of an echo server that lasts as long as the test.
func serve(t *testing.T) string {
	t.Helper()
	srv := &server.Server{Handler: echo{}, Logger: slog.New(slog.DiscardHandler)}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close() // always nil
		<-served
	})
	return "ws://" + ln.Addr().String() + "/"
}

// brief is a load that takes no time to speak of.
func brief() bench.Load {
	return bench.Load{
		Connections: bench.Connections{Count: 6}, Warmup: -1, Duration: 100 * time.Millisecond,
		Client: bench.Client{Timeout: 20 * time.Second},
	}
}

// TestScenarios runs those that an echo server can bear, with what they have of
// their own left at its default.
func TestScenarios(t *testing.T) {
	l := brief()
	for _, s := range []bench.Scenario{
		bench.Echo{Load: l}, bench.Rate{Load: l}, bench.Sweep{Load: l, To: 1500}, bench.Idle{Load: l}, bench.Storm{Load: l},
		bench.Churn{Load: l}, bench.Wave{Load: l, Times: 1}, bench.Slow{Load: l, Share: 0.3},
	} {
		t.Run(fmt.Sprintf("%T", s), func(t *testing.T) {
			r, err := bench.Run(t.Context(), bench.Target{URL: serve(t), PID: -1}, s)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", s), "bench."))
			if r.Plan.Scenario != want || r.Opened < 6 || r.Count == 0 || len(r.Troubles) > 0 {
				t.Errorf("%s: %d opened, count %d, troubles %+v", r.Plan.Scenario, r.Opened, r.Count, r.Troubles)
			}
		})
	}
}

// TestProcesses shares a run among processes.
func TestProcesses(t *testing.T) {
	l := brief()
	l.Client.Processes = 2
	r, err := bench.Run(t.Context(), bench.Target{URL: serve(t), PID: -1}, bench.Echo{Load: l})
	if err != nil {
		t.Fatal(err)
	}
	if r.Opened != 6 || r.Count == 0 || len(r.Troubles) > 0 {
		t.Errorf("%d opened, %d messages, troubles %+v", r.Opened, r.Count, r.Troubles)
	}
}

// TestWatched: the watch is told of phases and samples.
func TestWatched(t *testing.T) {
	l := brief()
	l.Duration = 1200 * time.Millisecond
	var phases []string
	samples := 0
	_, err := bench.RunWatched(t.Context(), bench.Target{URL: serve(t), PID: -1}, bench.Echo{Load: l}, bench.Watch{
		Phase:  func(name string) { phases = append(phases, name) },
		Sample: func(result.Sample) { samples++ },
	})
	if err != nil || strings.Join(phases, ", ") != "connect, warm up, measure, close" || samples == 0 {
		t.Errorf("phases %q, %d samples, %v", phases, samples, err)
	}
}

// TestPlanErrors: what is wrong is told before anything is run, by the name that
// the field has here, for each scenario its own.
func TestPlanErrors(t *testing.T) {
	target := bench.Target{URL: "ws://127.0.0.1:9/"}
	with := func(change func(*bench.Load)) bench.Load {
		l := brief()
		change(&l)
		return l
	}
	for _, tt := range []struct {
		target   bench.Target
		scenario bench.Scenario
		want     string
	}{
		{target, nil, "bench: Scenario: nil; want one such as Echo{}"},
		{bench.Target{}, bench.Echo{}, `bench: Target.URL: "" is not a WebSocket URL`},
		{bench.Target{URL: "wss://127.0.0.1/", CAFile: "/nowhere"}, bench.Echo{}, "bench: Target.CAFile: "},
		{bench.Target{URL: "ws://127.0.0.1/", Deflate: "yes"}, bench.Echo{}, "bench: Target.Deflate: "},
		{target, bench.Echo{Load: with(func(l *bench.Load) { l.Connections.Count = -1 })}, "bench: Connections.Count: -1; allowed are 1 to"},
		{target, bench.Echo{Load: with(func(l *bench.Load) { l.Connections.Sources = []netip.Addr{netip.IPv6Loopback()} })}, "bench: Connections.Sources: "},
		{target, bench.Echo{Load: with(func(l *bench.Load) { l.Messages.MinSize, l.Messages.MaxSize = 10, 9 })}, "bench: Messages.MaxSize: 9; allowed are 10 to"},
		{target, bench.Echo{Load: with(func(l *bench.Load) { l.Duration = -1 })}, "bench: Duration: "},
		{target, bench.Echo{Load: with(func(l *bench.Load) { l.Client.Poller = "magic" })}, "bench: Client.Poller: "},
		{target, bench.Echo{InFlight: 1 << 20}, "bench: InFlight: "},
		{target, bench.Rate{PerSecond: math.NaN()}, "bench: PerSecond: NaN"},
		{target, bench.Sweep{From: -1}, "bench: From: -1"},
		{target, bench.Sweep{Factor: 1}, "bench: Factor: 1"},
		{target, bench.Sweep{Limit: -1}, "bench: Limit: "},
		{target, bench.Sweep{From: 2000, To: 1000}, "bench: To: 1000; allowed are 2000 to 1000000000"},
		{target, bench.Sweep{Precision: 2}, "bench: Precision: 2; allowed are 0.001 to 1"},
		{target, bench.Churn{Each: 2e9}, "bench: Each: "},
		{target, bench.Wave{Times: -1}, "bench: Times: -1"},
		{target, bench.Slow{Share: 1}, "bench: Share: 1"},
		{target, bench.Slow{PerSecond: -1}, "bench: PerSecond: -1"},
		{target, bench.Slow{ReadRate: -1}, "bench: ReadRate: -1"},
		{target, bench.Broadcast{Load: with(func(l *bench.Load) { l.Connections.Count = 1 })}, "bench: Connections.Count: 1; allowed are 2 to"},
		{target, bench.Broadcast{InFlight: 1, Load: with(func(l *bench.Load) { l.Client.Processes = 2 })}, "bench: Client.Processes: 2, but a broadcast with a bound"},
		{target, bench.Broadcast{Publishers: 7, Load: brief()}, "bench: Publishers: 7; allowed are 1 to 6"},
		{target, bench.Broadcast{Load: with(func(l *bench.Load) { l.Messages.MinSize = 19 })}, "bench: Messages.MinSize: 19; allowed are 20 to"},
		{target, bench.Broadcast{Limit: -1}, "bench: Limit: "},
		{target, bench.Broadcast{EventStreams: true, Load: with(func(l *bench.Load) { l.Messages.Binary = true })}, "bench: EventStreams: they are of text"},
		{bench.Target{URL: target.URL, Deflate: bench.DeflateOn}, bench.Broadcast{EventStreams: true}, "bench: EventStreams: they are not compressed"},
		{target, bench.Broadcast{EventStreams: true, Publishers: -1, Load: brief()}, "bench: EventStreams: all of the 6 connections publish"},
		{target, bench.Broadcast{Limit: time.Second, Step: 2, Publishers: 3, Load: brief()}, "bench: Step: 2; allowed are "},
	} {
		r, err := bench.Run(t.Context(), tt.target, tt.scenario)
		if _, ok := errors.AsType[*bench.PlanError](err); !ok || r != nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%T: %v, want a *PlanError that begins with %q", tt.scenario, err, tt.want)
		}
	}
}

// TestPlanOf: each field of a target and a scenario has a field of its own in the
// record, and the record has no other.
func TestPlanOf(t *testing.T) {
	set := map[string]bool{"Scenario": true}
	for _, s := range []any{
		&bench.Echo{}, &bench.Rate{}, &bench.Sweep{}, &bench.Idle{}, &bench.Storm{}, &bench.Churn{}, &bench.Wave{}, &bench.Slow{}, &bench.Broadcast{}, &bench.Receive{},
	} {
		var target bench.Target
		scenario := s.(bench.Scenario)
		fields := leaves("Target", reflect.ValueOf(&target).Elem())
		maps.Copy(fields, leaves("", reflect.ValueOf(s).Elem()))
		for path, field := range fields {
			fill(t, field)
			names := changed(bench.PlanOf(target, scenario))
			if len(names) != 2 || names[0] != "Scenario" { // a scenario's name is always there
				t.Errorf("%T: %s sets %q, want one field", s, path, names)
			}
			for _, name := range names {
				set[name] = true
			}
			field.SetZero()
		}
	}
	record := reflect.TypeFor[result.Plan]()
	for i := range record.NumField() {
		if name := record.Field(i).Name; !set[name] {
			t.Errorf("nothing sets %s", name)
		}
	}
}

// leaves gives the fields of a struct and of those in it, by their path.
func leaves(path string, v reflect.Value) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	for i := range v.NumField() {
		name := strings.TrimPrefix(path+"."+v.Type().Field(i).Name, ".")
		if v.Field(i).Kind() == reflect.Struct {
			maps.Copy(all, leaves(name, v.Field(i)))
		} else {
			all[name] = v.Field(i)
		}
	}
	return all
}

// fill gives a field another value than its zero one.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	default:
		t.Fatalf("a field of kind %v", v.Kind())
	}
}

// changed are the fields of a record that are not zero.
func changed(p result.Plan) (names []string) {
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			names = append(names, v.Type().Field(i).Name)
		}
	}
	return names
}

// TestSlices: what can not be loaded in slices is an error, in terms of this package.
func TestSlices(t *testing.T) {
	for field, scenario := range map[string]bench.Scenario{
		"Scenario":          bench.Idle{},
		"Connections.Count": bench.Echo{Load: bench.Load{Connections: bench.Connections{Count: -1}}},
	} {
		err := bench.Slices(t.Context(), bench.Target{URL: "ws://127.0.0.1:1/"}, scenario, strings.NewReader(""), io.Discard)
		if wrong, ok := errors.AsType[*bench.PlanError](err); !ok || wrong.Field != field {
			t.Errorf("error %v, want one of %s", err, field)
		}
	}
	if err := bench.Slices(t.Context(), bench.Target{}, nil, nil, nil); err == nil {
		t.Error("no scenario, and no error")
	}
}
