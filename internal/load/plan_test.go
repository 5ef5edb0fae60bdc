package load_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/poller"
)

// TestPlanErrors: what is wrong with a plan is told before anything is run, with
// the field and what is allowed.
func TestPlanErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change      func(*result.Plan)
		field, says string
	}{
		"scenario":    {func(p *result.Plan) { p.Scenario = "dance" }, "Scenario", `"dance"; allowed are echo, rate, `},
		"none":        {func(p *result.Plan) { p.Connections = -1 }, "Connections", "-1; allowed are 1 to 100000000"},
		"one":         {func(p *result.Plan) { p.Scenario, p.Connections = result.Broadcast, 1 }, "Connections", "1; allowed are 2 to"},
		"sizes":       {func(p *result.Plan) { p.MinSize, p.MaxSize = 10, 9 }, "MaxSize", "9; allowed are 10 to"},
		"in flight":   {func(p *result.Plan) { p.InFlight = 1 << 20 }, "InFlight", "allowed are 1 to 65536"},
		"rate":        {func(p *result.Plan) { p.Scenario, p.Rate = result.Rate, math.NaN() }, "Rate", "NaN; allowed are 0.001 to"},
		"duration":    {func(p *result.Plan) { p.Duration = -time.Second }, "Duration", "-1; allowed are 0.001 to"},
		"share":       {func(p *result.Plan) { p.Scenario, p.SlowShare = result.Slow, 1 }, "SlowShare", "1; allowed are 0.0001 to 0.9999"},
		"processes":   {func(p *result.Plan) { p.Processes, p.Connections = 3, 2 }, "Processes", "3 for 2 connections"},
		"poller":      {func(p *result.Plan) { p.Poller = "magic" }, "Poller", "magic"},
		"no URL":      {func(p *result.Plan) { p.URL = "" }, "URL", "it looks like ws://"},
		"http":        {func(p *result.Plan) { p.URL = "http://127.0.0.1/x" }, "URL", "try ws://127.0.0.1/x"},
		"https":       {func(p *result.Plan) { p.URL = "HTTPS://a/" }, "URL", "try wss://a/"},
		"first reply": {func(p *result.Plan) { p.FirstReply = -1 }, "FirstReply", "allowed are 1e-06 to"},
		"no host":     {func(p *result.Plan) { p.URL = "ws:///chat" }, "URL", "it looks like ws://"},
		"opaque":      {func(p *result.Plan) { p.URL = "ws:127.0.0.1:80" }, "URL", "it looks like ws://"},
		"host only":   {func(p *result.Plan) { p.URL = "127.0.0.1:9001" }, "URL", "try ws://127.0.0.1:9001"},
		"deflate":     {func(p *result.Plan) { p.Deflate = "yes" }, "Deflate", "off, on, takeover"},
		"CA file":     {func(p *result.Plan) { p.URL, p.CAFile = "wss://127.0.0.1/", "/nowhere" }, "CAFile", "no such file"},
		"CA garbage":  {func(p *result.Plan) { p.URL, p.CAFile = "wss://127.0.0.1/", "plan_test.go" }, "CAFile", "no certificate"},
		"fragment":    {func(p *result.Plan) { p.URL = "ws://127.0.0.1/#top" }, "URL", "fragment"},
		"user":        {func(p *result.Plan) { p.URL = "ws://me@127.0.0.1/" }, "URL", "a user"},
		"port":        {func(p *result.Plan) { p.URL = "ws://127.0.0.1:70000/" }, "URL", `port "70000"; allowed are 1 to 65535`},
		"port 0":      {func(p *result.Plan) { p.URL = "ws://127.0.0.1:0/" }, "URL", `port "0"`},
		"escape":      {func(p *result.Plan) { p.URL = "ws://127.0.0.1/%zz" }, "URL", "it looks like ws://"},
		"header":      {func(p *result.Plan) { p.Header = []string{"no colon"} }, "Header", `malformed header line "no colon"`},
		"own header":  {func(p *result.Plan) { p.Header = []string{"Upgrade: h2c"} }, "Header", "the handshake has its own"},
		"origin":      {func(p *result.Plan) { p.Origin = "a\r\nb: c" }, "Header", "malformed origin"},
		"source":      {func(p *result.Plan) { p.Sources = []netip.Addr{netip.IPv6Loopback()} }, "Sources", "::1 can not reach 127.0.0.1"},
		"descriptors": {func(p *result.Plan) { p.Connections = 50e6 }, "Connections", "its descriptor limit is "},
	} {
		t.Run(name, func(t *testing.T) {
			p := hasty("ws://127.0.0.1:9/")
			tt.change(&p)
			r, err := load.Run(t.Context(), p, load.Watch{})
			wrong, ok := errors.AsType[*load.PlanError](err)
			if !ok || r != nil {
				t.Fatalf("%v, %v; want a *PlanError", r, err)
			}
			if wrong.Field != tt.field || !strings.Contains(wrong.Problem, tt.says) {
				t.Errorf("%s: %s; want %s: ...%s...", wrong.Field, wrong.Problem, tt.field, tt.says)
			}
		})
	}
}

// TestPlanOfItsScenario: the record has what its scenario has, with the defaults, and
// nothing of others.
func TestPlanOfItsScenario(t *testing.T) {
	all := []string{
		"in_flight", "rate", "warmup_ns", "duration_ns", "messages", "waves", "slow_share", "sweep_factor", "sweep_limit_ns",
		"min_size", "max_size", "seed", "first_reply_ns",
	}
	messages := " warmup_ns duration_ns min_size max_size seed first_reply_ns "
	for scenario, want := range map[string]string{
		result.Echo: "in_flight" + messages, result.Rate: "rate" + messages, result.Sweep: "rate sweep_factor sweep_limit_ns" + messages,
		result.Idle: strings.ReplaceAll(messages, "warmup_ns ", ""), result.Storm: "", result.Churn: "messages" + messages,
		result.Wave: "waves duration_ns", result.Slow: "in_flight rate slow_share" + messages, result.Broadcast: "rate" + messages,
	} {
		p := result.Plan{Scenario: scenario, URL: refusing(t), ServerPID: -1}
		text, err := json.Marshal(run(t, p, load.Watch{}).Plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range all {
			has := strings.Contains(string(text), `"`+field+`":`)
			if wanted := slices.Contains(strings.Fields(want), field); has != wanted {
				t.Errorf("%s: %s in the record: %v, want %v\n%s", scenario, field, has, wanted, text)
			}
		}
		for _, field := range []string{"url", "connections", "handshakes", "connect_timeout_ns", "loops", "timeout_ns"} {
			if !strings.Contains(string(text), `"`+field+`":`) {
				t.Errorf("%s: %s is lacking in %s", scenario, field, text)
			}
		}
	}
}

// TestDescriptorLimit: the line about too many connections says how many there
// may be and how many processes would do.
func TestDescriptorLimit(t *testing.T) {
	soft, _, err := poller.RaiseDescriptorLimit()
	if err != nil || soft > 1<<30 {
		t.Skipf("the limit is %d, %v", soft, err)
	}
	p := hasty(refusing(t))
	p.Connections = int(soft)
	_, err = load.Run(t.Context(), p, load.Watch{})
	if err == nil || !strings.Contains(err.Error(), "use at least 2 processes") {
		t.Errorf("%v, want that 2 processes would do", err)
	}
}

// TestWatch: the phases come in order and a sample a second, one call at a time, while
// the result has ten a second that begin and end with the measured window.
func TestWatch(t *testing.T) {
	url := scripted(t, func(p *peer) {
		if p.upgrade() {
			p.echo(whole)
		}
	})
	p := hasty(url)
	p.Warmup, p.Duration = 100*time.Millisecond, 2200*time.Millisecond
	var phases []string // the race detector tells if calls are not one at a time
	var samples []result.Sample
	r := run(t, p, load.Watch{
		Sample: func(s result.Sample) { samples = append(samples, s); phases = slices.Clip(phases) },
		Phase:  func(name string) { phases = append(phases, name); samples = slices.Clip(samples) },
	})
	if want := []string{"connect", "warm up", "measure", "close"}; !slices.Equal(phases, want) {
		t.Errorf("phases %q, want %q", phases, want)
	}
	if len(samples) < 1 || len(r.Samples) <= len(samples) {
		t.Fatalf("%d samples seen, the result has %d, want some and more", len(samples), len(r.Samples))
	}
	wantInOrder(t, samples)
	wantInOrder(t, r.Samples)
	count, seconds := int64(0), 0.0
	for _, s := range r.Samples {
		if s.Measured {
			count, seconds = count+s.Count, seconds+s.Seconds
		}
	}
	// A window begins and ends a moment after its samples.
	if count < r.Count*9/10 || count > r.Count*11/10+10 || seconds < r.Seconds*0.9 || seconds > r.Seconds*1.1+0.1 {
		t.Errorf("%d messages in %v s of samples, %d in %v s of the result", count, seconds, r.Count, r.Seconds)
	}
}

// wantInOrder checks that each sample begins where the one before ended, and is sound.
func wantInOrder(t *testing.T, samples []result.Sample) {
	t.Helper()
	last := 0.0
	for _, s := range samples {
		ordered := s.Count == 0 && math.IsNaN(s.P50) && math.IsNaN(s.Max) || s.P50 > 0 && s.P99 >= s.P50 && s.Max >= s.P99
		heat := int64(0)
		for _, n := range s.Heat {
			heat += n
		}
		if math.Abs(s.At-last) > 1e-6 || s.Seconds <= 0 || !ordered || heat != s.Count {
			t.Errorf("sample %+v after the one that ended at %v s", s, last)
		}
		last = s.At + s.Seconds
	}
}
