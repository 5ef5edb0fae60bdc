package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && commands[os.Args[1]] != nil { // one of the processes
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// expect checks that each of some figures is there for each round.
func expect(t *testing.T, f *figures, rounds int) {
	t.Helper()
	for _, name := range f.names {
		if len(f.values[name]) != rounds {
			t.Errorf("%s: %v, want %d values", name, f.values[name], rounds)
		}
	}
	if len(f.names) == 0 {
		t.Error("no figures")
	}
}

// TestInterest: all steps of the measurement come to their end, with few topics.
func TestInterest(t *testing.T) {
	const topics = 2 * samples
	all, err := interestAll(t.Context(), topics, 1, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		expect(t, f, 1)
	}
}

func TestSamples(t *testing.T) {
	names := map[string]bool{}
	for from := range 2 {
		for _, name := range sample(2*samples, from) {
			names[name] = true
		}
	}
	if len(names) != 2*samples || !names[topicName(0)] || !names[topicName(2*samples-1)] {
		t.Errorf("%d samples: %v", len(names), names)
	}
}

// TestPublish: a pair of short passes.
func TestPublish(t *testing.T) {
	both, err := publishBoth(t.Context(), 2, 2*window, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range both {
		expect(t, f, 2)
	}
}

// TestBroadcast: few receivers, of each kind; those that can come back without a gap do.
func TestBroadcast(t *testing.T) {
	const receivers = 20
	b := broadcasting{receivers: receivers, rounds: 1, size: 64, per: 50 * time.Millisecond, settled: 100 * time.Millisecond, awayFor: 3, fast: 4}
	all, err := b.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]float64{{receivers - 1, 0}, {receivers - 1, receivers}, {0, 0}} {
		f := all[i]
		expect(t, f, 1)
		got := [2]float64{f.values["herd: clients that lack nothing"][0], f.values["herd to a new node: clients that lack nothing"][0]}
		if got != want {
			t.Errorf("%s: %v came back without a gap, want %v", kinds[i], got, want)
		}
	}
}

func TestInterval(t *testing.T) {
	var values []float64
	for i := range 20 {
		values = append(values, float64(20-i))
	}
	if low, high := interval(values); low != 6 || high != 15 { // of 20, as tables have it
		t.Errorf("%v to %v", low, high)
	}
	if low, high := interval(values[:5]); low != 16 || high != 20 {
		t.Errorf("of five: %v to %v", low, high)
	}
	if got := median(values); got != 10.5 {
		t.Errorf("the median is %v", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123: "0.012", 1.234: "1.23", 12.34: "12.3", 999.6: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
