package result_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// TestLatency: times go into a distribution and come out of it, also through JSON.
func TestLatency(t *testing.T) {
	l := result.NewLatency()
	for ms := range 1000 {
		l.Record(time.Duration(ms+1) * time.Millisecond)
	}
	l.Record(time.Hour) // counts as the longest there can be
	more := result.NewLatency()
	more.Record(-time.Second) // counts as none
	l.Merge(more)
	l.Merge(nil)
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	back := &result.Latency{}
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*result.Latency{l, back} {
		if l.Count() != 1002 || l.Quantile(0) > 1 {
			t.Errorf("%d times from %v us", l.Count(), l.Quantile(0))
		}
		for q, want := range map[float64]float64{0.5: 500e3, 0.99: 991e3, 1: 600e6} { // us
			if got := l.Quantile(q); got < 0.998*want || got > 1.002*want {
				t.Errorf("quantile %v is %v us, want %v", q, got, want)
			}
		}
	}
	if !strings.Contains(string(text), `"count":1002`) || !strings.Contains(string(text), `"p99_us":`) {
		t.Errorf("JSON %.200s", text)
	}
}

// TestNoLatency: what was not measured is 0, and no reason to panic.
func TestNoLatency(t *testing.T) {
	var none *result.Latency
	if none.Count() != 0 || none.Mean() != 0 || none.Quantile(0.99) != 0 {
		t.Errorf("%d times, mean %v", none.Count(), none.Mean())
	}
}

// TestWrongHistogram: a file that somebody has changed is an error.
func TestWrongHistogram(t *testing.T) {
	for _, text := range []string{`{"hdr":""}`, `{"hdr":"HISTFAAA"}`, `{"hdr":"???"}`, `{"hdr":7}`, `[]`} {
		if err := json.Unmarshal([]byte(text), &result.Latency{}); err == nil {
			t.Errorf("%s is a latency", text)
		}
	}
}

// TestFigures: all runs have the same figures, some of them known.
func TestFigures(t *testing.T) {
	var names []string
	for _, f := range new(result.Result).Figures() {
		names = append(names, f.Name)
	}
	r := &result.Result{PerSecond: 7, Failed: 2, Latency: result.NewLatency(), Server: &result.ServerUse{CPU: 3},
		Troubles: []result.Trouble{{What: "a", Count: 2}, {What: "b", Count: 3}}}
	r.Latency.Record(5 * time.Microsecond)
	high := 54.0
	r.Knee = &result.Knee{Low: 52, High: &high}
	for i, f := range r.Figures() {
		if f.Name != names[i] {
			t.Errorf("figure %d is %s, and %s of an empty result", i, f.Name, names[i])
		}
	}
	for name, want := range map[string]string{
		"rate": "7 1/s true", "knee": "52 1/s true", "errors": "5  true", "failed": "2  true", "p99": "5 us true", "cpu": "3 us true", "rss": "0 B false", "skew-p50": "0 us false",
	} {
		if f, ok := r.Figure(name); !ok || fmt.Sprintf("%.0f %s %v", f.Value, f.Unit, f.Known) != want {
			t.Errorf("%s is %+v, want %s", name, f, want)
		}
	}
	r.Knee.High = nil // at least 52: no knee
	if f, _ := r.Figure("knee"); f.Known {
		t.Errorf("a knee %+v", f)
	}
	if f, ok := r.Figure("fun"); ok {
		t.Errorf("a figure %+v", f)
	}
}
