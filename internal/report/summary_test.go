package report_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

func summary(t *testing.T, r *result.Result) string {
	t.Helper()
	var b strings.Builder
	if err := report.Summary(&b, r); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n > 30 {
		t.Errorf("%d lines, more than 30:\n%s", n, b.String())
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(line) - 1; n > report.Columns {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	return b.String()
}

// unwrapped puts lines that were too long for a terminal together again.
func unwrapped(text string) string { return strings.ReplaceAll(text, "\n               ", " ") }

func TestSummaryWhole(t *testing.T) {
	r := sample(result.Rate)
	// One time only, so that all quantiles are it.
	r.Latency, r.Service, r.Connect, r.Client.Late = result.NewLatency(), result.NewLatency(), nil, nil
	r.Latency.Record(5300 * time.Microsecond)
	r.Service.Record(812 * time.Nanosecond)
	r.Failed = 3
	r.Server = nil
	r.Client.Bottleneck = "it used 1.97 of its 2 cores"
	r.Troubles = []result.Trouble{{What: "connect: connection refused", Count: 3}, {What: "wrong echo", Count: 12_000}}
	r.Notes = []string{"The server took 2 s to accept."}
	want := `
rate           ws://127.0.0.1:8080/echo
               1,000 connections, 64 B messages, 20,000 /s in all, for 10 s
               after 2 s of warm-up

connections    1,000 opened, 3 failed, 0 lost, 1,000 open at the peak
measured       1,024,690 messages in 10 s: 102,469 /s, 6.25 MiB/s of payload
server         not found, so its CPU and memory are not known
client         0.8 of 2 cores busy, 43 MiB of memory
bottleneck     the client, not the server: it used 1.97 of its 2 cores

latency           p50     p90     p99   p99.9  p99.99     max    mean
from due time  5.3 ms  5.3 ms  5.3 ms  5.3 ms  5.3 ms  5.3 ms  5.3 ms
service        812 ns  812 ns  812 ns  812 ns  812 ns  812 ns  812 ns

trouble        3 x connect: connection refused
               12,000 x wrong echo
note           The server took 2 s to accept.
`
	if got := "\n" + summary(t, r); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}

// published makes a result that of a broadcast.
func published(r *result.Result) {
	r.Publication = &result.Publication{Published: 5000, PerSecond: 500, Own: true, Missing: new(int64(2)), Doubled: 3}
}

func TestSummaryOfScenarios(t *testing.T) {
	const known = "server         millrace (pid 4242): 4.31 us of CPU a message, 0.44 cores busy, 187 B of RSS a connection, 13 MiB in all"
	checkSummaries(t, []summaryCase{
		{result.Echo, nil, []string{known, "1,000 connections, 64 B messages, 1 in flight each, for 10 s after 2 s of warm-up", "round trip "}, "trouble"},
		{result.Echo, func(r *result.Result) { r.Plan.MaxSize = 4096; r.Plan.Warmup = -1 },
			[]string{"64 B to 4 KiB messages, 1 in flight each, for 10 s\n"}, "warm-up"},
		{result.Echo, func(r *result.Result) { r.Plan.ServerPID = -1; r.Server = nil },
			[]string{"server         its CPU and memory were not to be measured"}, "not found"},
		{result.Echo, func(r *result.Result) { r.Count, r.Peak = 0, 0 },
			[]string{"millrace (pid 4242): - of CPU a message, 0.44 cores busy, "}, "us of CPU"},
		{result.Rate, nil, []string{"20,000 /s in all", "from due time", "service ", "sent late by "}, "round trip"},
		{result.Echo, func(r *result.Result) {
			nan := result.Unknown()
			r.Server.CPU, r.Server.Cores, r.Server.PerConnection, r.Server.After, r.Client = nan, nan, nan, 0, result.ClientUse{Cores: nan, Available: 2}
		}, []string{"millrace (pid 4242): - of CPU a message, - busy, - of RSS a connection, - in all\n", "client         - of 2 cores busy, - of memory\n"}, "0 us"},
		{result.Echo, func(r *result.Result) { r.EndedEarly = "the server's process 7 (x\x1b) ended 1.5 s into measuring" },
			[]string{"ended early    the server's process 7 (x?) ended 1.5 s into measuring: all figures are of what was done by then\n"}, "\x1b"},
		{result.Echo, func(r *result.Result) { r.Seconds, r.PerSecond, r.Count = 0, result.Unknown(), 0 },
			[]string{"measured       nothing: the run did not get that far\n"}, "0 /s"},
		{result.Sweep, nil, []string{"from 5,000 /s up, every 10 s at 1.5 times the rate, until the p99 exceeds 50 ms, to within 50%\n",
			"step           time     offered       done", "rate 9         10 s  128,145 /s  93,000 /s", " verdict\n", "  behind\n",
			"\nknee           between 85,430 /s and 128,145 /s, which came back by less than 95%\n"}, "before)"},
		{result.Sweep, func(r *result.Result) {
			r.Knee.Broke, r.Knee.Noise, r.Knee.Disturbed = result.OverLimit, 1, 2
			r.Knee.Bound = "all of 100 tries were used up"
			r.Steps[8].Disturbed = result.BySteal
		}, []string{"128,145 /s, which had a p99 above 50 ms; not nearer, since all of 100 tries were used up; 1 lone failure aside; disturbed and repeated: 2\n",
			"  time stolen\n"}, "  behind\n"},
		{result.Sweep, func(r *result.Result) { r.Knee.High, r.Knee.Bound = nil, "no higher rate was to be tried" },
			[]string{"\nknee           at least 85,430 /s; not nearer, since no higher rate was to be tried\n"}, "between"},
		{result.Sweep, func(r *result.Result) { r.Knee = nil }, []string{"\nknee           not found: no rate held\n"}, "between"},
		{result.Idle, nil, []string{"1,000 connections held open, then a 64 B message to each", "1,000 messages in 10 s\n"}, "/s"},
		{result.Storm, nil, []string{"1,000 connections opened as fast as allowed", "1,000 connections in 10 s: 8,333 /s\n",
			"of CPU a connection", "\nconnect "}, "payload"},
		{result.Storm, func(r *result.Result) { r.Plan.ConnectRate = 500 }, []string{"1,000 connections opened at 500 /s"}, "allowed"},
		{result.Churn, nil, []string{"1,000 connections at a time, each for 1 message of 64 B, ended by a reset", "whole life"}, "a close handshake"},
		{result.Wave, nil, []string{"1,000 connections drop by a FIN without a close frame and come back, 3 times, 10 s apart",
			"wave 3         138 ms  7,250 /s"}, "offered"},
		{result.Slow, nil, []string{"1,000 connections, 10% of them reading nothing", "\nwith the slow "}, "offered"},
		{result.Slow, func(r *result.Result) { r.Plan.SlowRate = 2048 }, []string{"reading 2 KiB/s"}, "nothing"},
		{"later", nil, []string{"later          ws://", "1,000 connections\n", "\nlatency "}, "trouble"},
	})
}

func TestSummaryOfBroadcast(t *testing.T) {
	checkSummaries(t, []summaryCase{
		{result.Broadcast, func(r *result.Result) { published(r) },
			[]string{"1,000 connections, one publishes 64 B messages at 100 /s", "\nskew ", "arrival ", "\nlast arrival ", "1,024,690 deliveries in 10 s",
				"published      5,000 messages: 500 /s, each to all others and back to its publisher too; 2 missing, 3 doubled", "of CPU a delivery"}, "round trip"},
		{result.Broadcast, func(r *result.Result) {
			published(r)
			r.Plan.InFlight, r.Plan.Publishers, r.Publication.Own, r.Publication.Clients = 1, 30, false, new(7)
		},
			[]string{"30 publish 64 B messages 1 in flight", "not back to its publisher; 2 missing, 3 doubled; 7 clients kept the limit"}, "too;"},
		{result.Broadcast, func(r *result.Result) {
			published(r)
			r.Publication.PerSecond, r.Publication.Missing = result.Unknown(), nil
		}, []string{"published      5,000 messages: -, each to all others and back to its publisher too; - missing, 3 doubled"}, "0 missing"},
		{result.Broadcast, func(r *result.Result) { r.Plan.EventStreams = true },
			[]string{"1,000 connections, one publishes 64 B messages at 100 /s to event", "streams, for 10 s"}, "to WebSockets"},
		{result.Broadcast, func(r *result.Result) { r.Plan.Publishers, r.Publication = 1000, nil }, []string{"1,000 connections, all publish 64 B"}, "published"},
		{result.Churn, func(r *result.Result) {
			r.Handshakes = &result.Handshakes{Count: 1000, PerSecond: 100, All: 1500, Resumed: 1400}
			r.Wire = &result.Wire{Sent: 25, SentPayload: 100, Received: 30, ReceivedPayload: 100}
		}, []string{"tls            1,000 handshakes: 100 /s, 4.4 ms of CPU each; 1,400 of 1,500 resumed over the whole run",
			"compression    25% of the payload sent, 30% of that received"}, "published"},
		{result.Churn, func(r *result.Result) { r.Plan.Messages, r.Plan.Resume, r.Plan.Reset = 0, true, false },
			[]string{"1,000 connections at a time that resume TLS sessions, each without a message, ended by a close handshake"}, "0 messages"},
		{result.Broadcast, func(r *result.Result) {
			r.Plan.RampLimit, r.Plan.RampStep, r.Plan.InFlight = 500*time.Millisecond, 200, 4
			r.Steps = []result.Step{{Name: "200 clients", PerSecond: 7000, Seconds: 5, Latency: r.Latency, Last: r.Last}, {Name: "400 clients"}}
		}, []string{"up to 1,000 connections, 200 more each time until the p95 of the last arrival exceeds 500 ms, one publishes 64 B messages 4 in flight",
			"      max  p95 of last\n200 clients", " 3.61 ms\n400 clients", "      -            -\n"}, "1,000 connections, one"},
		{result.Receive, nil, []string{"1,000 connections that only receive, for 10 s", "\ngap "}, "round trip"},
	})
}

// TestSummaryOfUnit: a terminal gets no escape sequence from a file.
func TestSummaryOfUnit(t *testing.T) {
	r := sample(result.Echo)
	r.Unit = "m\x1b[31m"
	if text := summary(t, r); strings.ContainsRune(text, '\x1b') || !strings.Contains(text, "m?[31m") {
		t.Errorf("%q", text)
	}
}

// TestLinesLeaveOut: a table that is too wide loses its spare columns first, in their
// order, and never more than it has to.
func TestLinesLeaveOut(t *testing.T) {
	wide := func(cells int) report.Table {
		return report.Table{report.Row("name", "first", "second", "third", "last"), report.Row("the name of a thing",
			strings.Repeat("1", cells), strings.Repeat("2", cells), strings.Repeat("3", cells), strings.Repeat("4", cells))}
	}
	for cells, want := range map[int]string{
		10: "name first second third last", 16: "name second third last", 24: "name second last", 34: "name last",
	} {
		lines := wide(cells).Lines(12, "unknown", "first", "third")
		if got := strings.Join(strings.Fields(lines[0]), " "); got != want {
			t.Errorf("cells of %d: %q, want %q", cells, got, want)
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > report.Columns {
				t.Errorf("%d characters: %s", n, line)
			}
		}
	}
}

// summaryCase is a scenario's sample, changed, what its summary has and what not.
type summaryCase struct {
	scenario string
	change   func(r *result.Result)
	want     []string
	wantNot  string
}

func checkSummaries(t *testing.T, tests []summaryCase) {
	t.Helper()
	for i, test := range tests {
		t.Run(fmt.Sprint(i, test.scenario), func(t *testing.T) {
			r := sample(test.scenario)
			if test.change != nil {
				test.change(r)
			}
			got := unwrapped(summary(t, r))
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			if strings.Contains(got, test.wantNot) {
				t.Errorf("has %q:\n%s", test.wantNot, got)
			}
		})
	}
}

func TestSummaryStaysShort(t *testing.T) {
	r := sample(result.Sweep)
	r.Client.Bottleneck, r.Client.Late = "it was busy", r.Service
	for i := range 40 {
		r.Steps = append(r.Steps, result.Step{Name: fmt.Sprint("step ", i), Offered: 1e6})
		r.Troubles = append(r.Troubles, result.Trouble{What: fmt.Sprint("trouble ", i), Count: 1})
		r.Notes = append(r.Notes, fmt.Sprint("Note ", i, "."))
	}
	got := summary(t, r)
	for _, want := range []string{"steps before)", "step 39 ", "1 x trouble 2\n", "and 37 more", "Note 2.\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

// TestSummaryFits holds that no line is wider than a terminal, whatever names are in
// it, and that columns stay columns.
func TestSummaryFits(t *testing.T) {
	r := sample(result.Sweep)
	long := strings.Repeat("a-very-long-name", 8)
	r.Plan.URL, r.Server.Name, r.Client.Bottleneck = "ws://"+long+"/", long, "it was busy with "+long
	r.Troubles, r.Notes = []result.Trouble{{What: "connect to " + long, Count: 7}}, []string{"A note of " + long + "."}
	r.Steps = r.Steps[:4]
	for i := range r.Steps {
		r.Steps[i].Name, r.Steps[i].Offered, r.Steps[i].PerSecond = fmt.Sprint(long, i), 123_456_789, 123_456_789
	}
	got := summary(t, r)
	lines := strings.Split(got, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "step ") {
			continue
		}
		column := utf8.RuneCountInString(line) - len("verdict") // where it begins
		for n, row := range lines[i+1 : i+5] {
			letters := []rune(row)
			if len(letters) < column || string(letters[column:]) != result.Held || letters[column-1] != ' ' {
				t.Errorf("not in the columns of its header:\n%s\n%s", line, row)
			}
			if !strings.Contains(row, "…") || !strings.Contains(row, fmt.Sprint(n)) {
				t.Errorf("no shortened name in %q", row)
			}
		}
	}
	for _, want := range []string{"step ", "\ntrouble ", "…"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func TestShorten(t *testing.T) {
	names := []string{"gws", "server-of-somebody-1", "server-of-somebody-2", "server-xy-somebody-1", "server-of-somebody-1"}
	want := []string{"gws", "serv…dy-1", "serv…dy-2", "ser…y-1~2", "serv…dy-1"}
	got := report.Shorten(names, 9)
	for i, name := range got {
		if name != want[i] || utf8.RuneCountInString(name) > 9 {
			t.Errorf("%q is shortened to %q, want %q", names[i], name, want[i])
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"a bc def", []string{"a bc", "def"}},
		{"abcdefghijklm no", []string{"abcde", "fghij", "klm", "no"}},
		{"  äöü  xy z", []string{"äöü", "xy z"}},
		{"at 7 s.", []string{"at", "7 s."}},
	} {
		if got := report.Wrap(tt.text, 5); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestColumn(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		values []float64
		unit   string
		want   []string
		in     string
	}{
		{[]float64{102_469.4, 93, nan}, "1/s", []string{"102,469.4", "93.0", "-"}, "/s"},
		{[]float64{4.314, 12.5, 100}, "us", []string{"4.31", "12.50", "100.00"}, "us"},
		{[]float64{5300, 24_000, 0}, "us", []string{"5.30", "24.00", "0.00"}, "ms"},
		{[]float64{0.42, 5}, "us", []string{"420", "5,000"}, "ns"},
		{[]float64{187, 4096}, "B", []string{"187", "4,096"}, "B"},
		{[]float64{0.44}, "cores", []string{"0.440"}, "cores"},
		{[]float64{nan, math.Inf(1), -3}, "", []string{"-", "-", "-3.00"}, ""},
		{nil, "us", nil, "us"},
	} {
		got, in := report.Column(tt.values, tt.unit)
		if !slices.Equal(got, tt.want) || in != tt.in {
			t.Errorf("%v %s: %q in %q, want %q in %q", tt.values, tt.unit, got, in, tt.want, tt.in)
		}
	}
}

// TestSummaryOfNothing shows results of runs that failed at once.
func TestSummaryOfNothing(t *testing.T) {
	for _, scenario := range append(scenarios, "") {
		got := summary(t, &result.Result{Plan: result.Plan{Scenario: scenario}})
		for _, bad := range []string{"NaN", "Inf", "%!", "-1"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s: %q in\n%s", scenario, bad, got)
			}
		}
	}
}

// TestSummaryIsHarmless holds what servers and users say from reaching the terminal.
func TestSummaryIsHarmless(t *testing.T) {
	const evil = "a\x1b[2Jb\r\nc\u202ed\u0085\xff"
	r := sample(result.Sweep)
	r.Plan.URL, r.Server.Name, r.Client.Bottleneck, r.Steps[0].Name = evil, evil, evil, evil
	r.Troubles = []result.Trouble{{What: evil, Count: 1}}
	r.Notes = []string{evil}
	for _, c := range summary(t, r) {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Errorf("%q in it", c)
		}
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	r := sample(result.Echo)
	for name, err := range map[string]error{
		"Summary":        report.Summary(brokenPipe{}, r),
		"WriteJSON":      report.WriteJSON(brokenPipe{}, r),
		"WriteHistogram": report.WriteHistogram(brokenPipe{}, r.Latency),
		"HTML":           report.HTML(brokenPipe{}, r),
	} {
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFormat(t *testing.T) {
	tests := []struct {
		value float64
		unit  string
		want  string
	}{
		{812, "us", "812 us"}, {5300, "us", "5.3 ms"}, {1.02e6, "us", "1.02 s"}, {0, "us", "0 us"},
		{0.42, "us", "420 ns"}, {999.7, "us", "1 ms"}, {999.4, "us", "999 us"}, {6e8, "us", "600 s"},
		{-3.5, "us", "-3.5 us"}, {187.4, "B", "187 B"}, {0.5, "B", "0.5 B"}, {-12.34, "B", "-12.3 B"},
		{1 << 20, "B", "1 MiB"}, {1023.9, "B", "1 KiB"}, {43.21 * (1 << 20), "B", "43.2 MiB"},
		{1 << 50, "B", "1,024 TiB"}, {102469.4, "1/s", "102,469 /s"}, {0.025, "1/s", "0.025 /s"},
		{1.125, "x", "1.12x"}, {0.44, "cores", "0.44 cores"}, {1234567, "", "1,234,567"}, {999.96, "", "1,000"},
		{-1234, "", "-1,234"}, {-0.00001, "", "0"}, {9.996, "", "10"}, {99.96, "", "100"},
		{math.NaN(), "us", "not known"}, {math.Inf(1), "", "not known"},
	}
	for _, test := range tests {
		if got := report.Format(test.value, test.unit); got != test.want {
			t.Errorf("Format(%v, %q) = %q, want %q", test.value, test.unit, got, test.want)
		}
	}
}
