package result_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

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

// TestNoLatency: what was not measured is not 0, and no reason to panic.
func TestNoLatency(t *testing.T) {
	for _, none := range []*result.Latency{nil, result.NewLatency()} {
		if none.Count() != 0 || result.Known(none.Mean()) || result.Known(none.Quantile(0.99)) {
			t.Errorf("%d times, mean %v, p99 %v", none.Count(), none.Mean(), none.Quantile(0.99))
		}
	}
	text, err := json.Marshal(result.NewLatency())
	if err != nil || !strings.HasPrefix(string(text), `{"count":0,"mean_us":null,"p50_us":null,`) || strings.Contains(string(text), "_us\":0") {
		t.Errorf("%s, %v", text, err)
	}
	if err := json.Unmarshal(text, &result.Latency{}); err != nil {
		t.Error(err)
	}
}

// TestUnknownJSON: what could not be read is null and comes back as not known, and what
// is known comes back as it is.
func TestUnknownJSON(t *testing.T) {
	nan := result.Unknown()
	r := &result.Result{
		PerSecond: nan, Server: &result.ServerUse{PID: 7, CPU: nan, Cores: nan, PerConnection: nan},
		Client: result.ClientUse{Cores: nan}, Steps: []result.Step{{Name: "a", PerSecond: nan}},
		Publication: &result.Publication{PerSecond: nan}, Handshakes: &result.Handshakes{Count: 1, PerSecond: nan},
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"per_second", "cpu_us", "cores", "rss_before", "rss_after", "rss_per_connection", "memory", "published_per_second", "missing"} {
		told := strings.Count(string(text), `"`+name+`":`)
		if name == "cores" {
			told-- // those of the machine
		}
		if told != strings.Count(string(text), `"`+name+`":null`) || !strings.Contains(string(text), name) {
			t.Errorf("%s is not null in %s", name, text)
		}
	}
	for _, text := range []string{string(text), `{"server":{"pid":7},"client":{},"steps":[{"name":"a"}],"publication":{},"handshakes":{"count":1}}`} {
		var back result.Result
		if err := json.Unmarshal([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]float64{
			"rate": back.PerSecond, "step": back.Steps[0].PerSecond, "cpu": back.Server.CPU, "cores": back.Server.Cores,
			"per connection": back.Server.PerConnection, "client": back.Client.Cores,
			"published": back.Publication.PerSecond, "handshakes": back.Handshakes.PerSecond,
		} {
			if result.Known(value) {
				t.Errorf("%s is %v after %s", name, value, text)
			}
		}
		for _, f := range back.Figures() {
			if f.Known != slices.Contains([]string{"failed", "lost", "errors", "doubled", "resumed"}, f.Name) || f.Known == math.IsNaN(f.Value) {
				t.Errorf("%s: %+v", text, f)
			}
		}
	}
	known := result.Result{
		Plan: result.Plan{Scenario: result.Echo}, PerSecond: 5, Steps: []result.Step{{Name: "a", PerSecond: 6}},
		Server: &result.ServerUse{PID: 7, Name: "b", CPU: 1, Cores: 0, Before: 3, After: 4, PerConnection: 5},
		Client: result.ClientUse{Cores: 1, Available: 2, Memory: 3}, Samples: []result.Sample{},
		Publication: &result.Publication{Published: 1, PerSecond: 2, Missing: new(int64), Doubled: 4, Clients: new(5)},
		Handshakes:  &result.Handshakes{Count: 1, PerSecond: 2, All: 3, Resumed: 4},
	}
	text, _ = json.Marshal(known) // the error would show
	var back result.Result
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, known) {
		t.Errorf("%+v went out, %+v came back, %v", known, back, err)
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

// TestCountsOfHistogram: more times than can be are an error, since the library panics on
// their quantiles.
func TestCountsOfHistogram(t *testing.T) {
	for _, counts := range [][]int64{{5, 1<<51 - 5}, {1 << 51, 1}, {1 << 62, 1}, {1 << 62, 1 << 62, 1 << 62, 1 << 62, 7}} {
		l := result.NewLatency()
		for i, n := range counts {
			if err := l.Histogram.RecordValues(int64(i), n); err != nil {
				t.Fatal(err)
			}
		}
		encoded, err := l.Histogram.Encode(hdr.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		var back result.Latency
		err = json.Unmarshal(fmt.Appendf(nil, `{"hdr":%q}`, encoded), &back)
		if l.Count() == 1<<51 {
			if err != nil || back.Quantile(1) != l.Quantile(1) {
				t.Errorf("%d: %v", counts, err)
			}
		} else if err == nil {
			t.Errorf("%d are the counts of a latency", counts)
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
		"rate": "7 1/s true", "knee": "52 1/s true", "errors": "5  true", "failed": "2  true", "p99": "5 us true", "cpu": "3 us true", "rss": "NaN B false", "skew-p50": "NaN us false",
	} {
		if f, ok := r.Figure(name); !ok || fmt.Sprintf("%.0f %s %v", f.Value, f.Unit, f.Known) != want {
			t.Errorf("%s is %+v, want %s", name, f, want)
		}
	}
	r.Knee.High = nil // at least 52: no knee
	if f, _ := r.Figure("knee"); f.Known {
		t.Errorf("a knee %+v", f)
	}
	r.Plan.RampLimit, r.Seconds, r.Server.Cores = time.Second, 2, 0.5
	r.Publication = &result.Publication{PerSecond: 9, Missing: new(int64(4)), Doubled: 1, Clients: new(70)}
	r.Handshakes = &result.Handshakes{Count: 1000, PerSecond: 500, All: 1200, Resumed: 800}
	r.Wire = &result.Wire{Sent: 40, SentPayload: 100, Received: 20}
	for name, want := range map[string]string{
		"published": "9.0 1/s true", "missing": "4.0  true", "doubled": "1.0  true", "clients": "70.0 clients true", "last-p95": "NaN us false",
		"handshakes": "500.0 1/s true", "handshake-cpu": "1000.0 us true", "resumed": "800.0  true", "ratio-sent": "0.4 x true", "ratio-received": "NaN x false",
	} {
		if f, ok := r.Figure(name); !ok || fmt.Sprintf("%.1f %s %v", f.Value, f.Unit, f.Known) != want {
			t.Errorf("%s is %+v, want %s", name, f, want)
		}
	}
	if f, ok := r.Figure("fun"); ok {
		t.Errorf("a figure %+v", f)
	}
}
