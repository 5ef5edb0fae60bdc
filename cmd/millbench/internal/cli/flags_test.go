package cli_test

import (
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/poller"
)

// defaults are what all scenarios have in common without flags.
func defaults(scenario string) result.Plan {
	return result.Plan{
		Scenario: scenario, URL: "ws://127.0.0.1:9001/", Connections: 100, MinSize: 64, MaxSize: 64,
		Warmup: time.Second, Duration: 5 * time.Second, Handshakes: 256, ConnectTimeout: 10 * time.Second, FirstReply: time.Second,
		Seed: 1, Poller: poller.Engines()[0], Deflate: bench.DeflateOff,
	}
}

// special are the defaults of single scenarios.
var special = map[string]func(*result.Plan){
	result.Echo: func(p *result.Plan) { p.InFlight = 1 },
	result.Rate: func(p *result.Plan) { p.Rate = 1000 },
	result.Sweep: func(p *result.Plan) {
		p.Rate, p.SweepFactor, p.SweepLimit, p.SweepPrecision = 1000, 1.5, 50*time.Millisecond, 0.05
	},
	result.Idle:  func(*result.Plan) {},
	result.Storm: func(*result.Plan) {},
	result.Churn: func(p *result.Plan) { p.Messages = 1 },
	result.Wave:  func(p *result.Plan) { p.Waves = 3 },
	result.Slow:  func(p *result.Plan) { p.InFlight, p.Rate, p.SlowShare = 1, 1000, 0.1 },
	result.Broadcast: func(p *result.Plan) {
		p.Rate, p.Publishers, p.RampStep = 1000, 1, 1000
	},
	result.Receive: func(*result.Plan) {},
}

func TestDefaults(t *testing.T) {
	for _, scenario := range result.Scenarios() {
		want := defaults(scenario)
		special[scenario](&want)
		s := newStage()
		s.expect(t, 0, []string{scenario})
		if !reflect.DeepEqual(s.plan, want) {
			t.Errorf("%s: plan\n%+v, want\n%+v", scenario, s.plan, want)
		}
	}
}

// settings are arguments and what they make of a scenario's default plan.
var settings = []struct {
	args string
	set  func(*result.Plan)
}{
	{"echo ws://host:1/path", func(p *result.Plan) { p.URL = "ws://host:1/path" }},
	{"echo --url ws://host:1/path", func(p *result.Plan) { p.URL = "ws://host:1/path" }},
	{"echo ws://host/ -c 3", func(p *result.Plan) { p.URL, p.Connections = "ws://host/", 3 }},
	{"echo -c 3 ws://host/ --loops 2", func(p *result.Plan) { p.URL, p.Connections, p.Loops = "ws://host/", 3, 2 }},
	{"echo --connections=7", func(p *result.Plan) { p.Connections = 7 }},
	{"echo -connections 7 -c 8", func(p *result.Plan) { p.Connections = 8 }},
	{"echo --size 1", func(p *result.Plan) { p.MinSize, p.MaxSize = 1, 1 }},
	{"echo --size 16-1024", func(p *result.Plan) { p.MinSize, p.MaxSize = 16, 1024 }},
	{"echo --size 1k-1MiB", func(p *result.Plan) { p.MinSize, p.MaxSize = 1<<10, 1<<20 }},
	{"echo --size 1g", func(p *result.Plan) { p.MinSize, p.MaxSize = 1<<30, 1<<30 }},
	{"echo --size 2KB", func(p *result.Plan) { p.MinSize, p.MaxSize = 2<<10, 2<<10 }},
	{"echo --in-flight 16", func(p *result.Plan) { p.InFlight = 16 }},
	{"slow --in-flight 2", func(p *result.Plan) { p.InFlight = 2 }},
	{"echo --binary", func(p *result.Plan) { p.Binary = true }},
	{"echo --text cjk", func(p *result.Plan) { p.Text = bench.TextCJK }},
	{"churn --resume", func(p *result.Plan) { p.Resume = true }},
	{"echo --binary=false", func(*result.Plan) {}},
	{"rate --rate 20000", func(p *result.Plan) { p.Rate = 20000 }},
	{"sweep --rate 0.5", func(p *result.Plan) { p.Rate = 0.5 }},
	{"slow --rate 10", func(p *result.Plan) { p.Rate = 10 }},
	{"broadcast --rate 1e3", func(p *result.Plan) { p.Rate = 1000 }},
	{"broadcast --in-flight 4", func(p *result.Plan) { p.InFlight = 4 }},
	{"broadcast --publishers 10", func(p *result.Plan) { p.Publishers = 10 }},
	{"broadcast --publishers all", func(p *result.Plan) { p.Publishers = -1 }},
	{"broadcast --limit 500ms --step 50", func(p *result.Plan) { p.RampLimit, p.RampStep = 500*time.Millisecond, 50 }},
	{"broadcast --event-streams", func(p *result.Plan) { p.EventStreams = true }},
	{"receive --hello subscribe", func(p *result.Plan) { p.Hello = "subscribe" }},
	{"echo --warmup off", func(p *result.Plan) { p.Warmup = -1 }},
	{"echo --warmup -1", func(p *result.Plan) { p.Warmup = -1 }},
	{"idle --warmup 500ms", func(p *result.Plan) { p.Warmup = 500 * time.Millisecond }},
	{"sweep --duration 1m30s", func(p *result.Plan) { p.Duration = 90 * time.Second }},
	{"storm --duration 2s", func(p *result.Plan) { p.Duration = 2 * time.Second }},
	{"storm --connect-rate 500", func(p *result.Plan) { p.ConnectRate = 500 }},
	{"storm --handshakes 9", func(p *result.Plan) { p.Handshakes = 9 }},
	{"storm --connect-timeout 3s", func(p *result.Plan) { p.ConnectTimeout = 3 * time.Second }},
	{"churn --messages 4 --reset", func(p *result.Plan) { p.Messages, p.Reset = 4, true }},
	{"churn --messages off", func(p *result.Plan) { p.Messages = -1 }},
	{"wave --waves 2 --reset", func(p *result.Plan) { p.Waves, p.Reset = 2, true }},
	{"slow --slow-share 0.25 --slow-rate 1k", func(p *result.Plan) { p.SlowShare, p.SlowRate = 0.25, 1024 }},
	{"sweep --sweep-factor 2 --sweep-limit 10ms", func(p *result.Plan) { p.SweepFactor, p.SweepLimit = 2, 10*time.Millisecond }},
	{"sweep --sweep-max 5e4 --sweep-precision 0.02", func(p *result.Plan) { p.SweepMax, p.SweepPrecision = 50_000, 0.02 }},
	{"echo --sources 127.0.0.2,127.0.0.3 --sources ::1", func(p *result.Plan) {
		p.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.IPv6Loopback()}
	}},
	{"echo --header A:1 --header B:2,3", func(p *result.Plan) { p.Header = []string{"A:1", "B:2,3"} }},
	{"echo --origin https://a.example --subprotocol chat", func(p *result.Plan) { p.Origin, p.Subprotocol = "https://a.example", "chat" }},
	{"echo --seed 18446744073709551615", func(p *result.Plan) { p.Seed = 1<<64 - 1 }},
	{"echo --loops 4", func(p *result.Plan) { p.Loops = 4 }},
	{"echo --processes 3", func(p *result.Plan) { p.Processes = 3 }},
	{"echo --poller " + lastEngine(), func(p *result.Plan) { p.Poller = lastEngine() }},
	{"echo --deflate takeover", func(p *result.Plan) { p.Deflate = bench.DeflateTakeover }},
	{"echo --insecure", func(p *result.Plan) { p.Insecure = true }},
	{"echo --ca ca.pem", func(p *result.Plan) { p.CAFile = "ca.pem" }},
	{"echo --server-pid 42", func(p *result.Plan) { p.ServerPID = 42 }},
	{"echo --server-pid -1", func(p *result.Plan) { p.ServerPID = -1 }},
	{"echo --server-pid none", func(p *result.Plan) { p.ServerPID = -1 }},
	{"echo --server-pid none --server-pid auto", func(*result.Plan) {}},
	{"echo --first-reply 3S", func(p *result.Plan) { p.FirstReply = 3 * time.Second }},
	{"echo --timeout 2m", func(p *result.Plan) { p.Timeout = 2 * time.Minute }},
}

// TestZeroIsTheDefault: 0 is for a flag what it is for the field, the default.
func TestZeroIsTheDefault(t *testing.T) {
	for _, c := range []struct{ args, fields string }{
		{"echo -c 0 --in-flight 0 --handshakes 0 --connect-rate 0 --connect-timeout 0", "Connections InFlight Handshakes ConnectRate ConnectTimeout"},
		{"echo --warmup 0 --duration 0 --timeout 0 --seed 0 --loops 0 --processes 0 --server-pid 0", "Warmup Duration Timeout Seed Loops Processes ServerPID"},
		{"rate --rate 0", "Rate"}, {"broadcast --rate 0 --publishers 0 --in-flight 0 --limit 0 --step 0", "Rate Publishers InFlight RampLimit RampStep"}, {"churn --messages 0", "Messages"}, {"wave --waves 0", "Waves"},
		{"sweep --rate 0 --sweep-factor 0 --sweep-limit 0 --sweep-max 0 --sweep-precision 0", "Rate SweepFactor SweepLimit SweepMax SweepPrecision"},
		{"slow --rate 0 --in-flight 0 --slow-share 0 --slow-rate 0", "Rate InFlight SlowShare SlowRate"},
	} {
		s := newStage()
		s.expect(t, 0, strings.Fields(c.args))
		for _, field := range strings.Fields(c.fields) {
			if v := reflect.ValueOf(s.plan).FieldByName(field); !v.IsZero() {
				t.Errorf("%s: %s is %v, want 0", c.args, field, v)
			}
		}
	}
}

func lastEngine() string {
	engines := poller.Engines()
	return engines[len(engines)-1]
}

func TestFlags(t *testing.T) {
	for _, c := range settings {
		args := strings.Fields(c.args)
		want := defaults(args[0])
		special[args[0]](&want)
		c.set(&want)
		s := newStage()
		s.expect(t, 0, args)
		if !reflect.DeepEqual(s.plan, want) {
			t.Errorf("%s: plan\n%+v, want\n%+v", c.args, s.plan, want)
		}
	}
}

// TestAllFields: each field of a plan can be set by a flag.
func TestAllFields(t *testing.T) {
	var plan result.Plan
	for _, c := range settings {
		c.set(&plan)
	}
	v := reflect.ValueOf(plan)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "Scenario" && v.Field(i).IsZero() {
			t.Errorf("no flag sets %s, or no test does", name)
		}
	}
}

func TestWrongValues(t *testing.T) {
	for _, c := range []struct{ scenario, flag, wrong, allowed string }{
		{"echo", "connections", "-1", "want a whole number from 0 up"},
		{"echo", "connections", "1.5", "a whole number"},
		{"echo", "connections", "99999999999999999999", "a whole number"},
		{"echo", "in-flight", "-1", "a whole number from 0 up"},
		{"echo", "size", "x", "a size from 1 byte up such as 64, 64k or 1MiB, or a range of them such as 16-1024"},
		{"echo", "size", "0", "from 1 byte"},
		{"echo", "size", "64x", "a size"},
		{"echo", "size", "k", "a size"},
		{"echo", "size", "2-1", "a range"},
		{"echo", "size", "1-", "a range"},
		{"echo", "size", "9223372036854775807k", "a size"},
		{"echo", "binary", "maybe", "no value, or true or false"},
		{"rate", "rate", "-0.5", "a number from 0 up"},
		{"rate", "rate", "NaN", "a number from 0 up"},
		{"rate", "rate", "Inf", "a number from 0 up"},
		{"broadcast", "rate", "-1", "a number from 0 up such as 20000 or 0.5"},
		{"broadcast", "publishers", "some", "all, or a whole number from 0 up"},
		{"echo", "text", "klingon", "one of ascii, words, json, "},
		{"echo", "warmup", "1", "off, or a time from 0 up with its unit"},
		{"echo", "warmup", "-1s", "a time from 0 up"},
		{"echo", "duration", "-1s", "a time from 0 up with its unit such as 500ms, 30s or 5m"},
		{"echo", "connect-rate", "-1", "a number from 0 up"},
		{"echo", "handshakes", "x", "from 0 up"},
		{"echo", "connect-timeout", "soon", "a time from 0 up"},
		{"churn", "messages", "-2", "off, or a whole number from 0 up"},
		{"churn", "reset", "2", "no value"},
		{"wave", "waves", "-1", "from 0 up"},
		{"slow", "slow-share", "10%", "a number from 0 up"},
		{"slow", "slow-rate", "-1", "a size such as 65536, 64k or 1MiB, from 0 up"},
		{"sweep", "sweep-factor", "half", "a number from 0 up"},
		{"sweep", "sweep-limit", "5", "a time from 0 up"},
		{"echo", "sources", "localhost", "IP addresses separated by commas"},
		{"echo", "sources", ",", "IP addresses"},
		{"echo", "seed", "-1", "from 0 up"},
		{"echo", "loops", "-1", "from 0 up"},
		{"echo", "processes", "-1", "from 0 up"},
		{"echo", "poller", "select", "one of " + strings.Join(poller.Engines(), ", ")},
		{"echo", "server-pid", "-2", "a process id, auto or none"},
		{"echo", "timeout", "-1s", "a time from 0 up"},
		{"echo", "hgrm", "-", "the name of a file"},
		{"echo", "report", "-", "the name of a file"},
		{"echo", "fail-if", "p99", "a condition such as 'p99>5ms': no > >= < or <= in it"},
		{"echo", "fail-if", "p98>1ms", `no figure "p98"; there are rate, `},
		{"echo", "fail-if", "p99>1", "needs one of the units"},
		{"echo", "quiet", "no way", "no value"},
	} {
		expectMisuse(t, []string{c.scenario, "--" + c.flag + "=" + c.wrong},
			"millbench "+c.scenario+": --"+c.flag+": invalid value ", c.wrong, c.allowed)
	}
}

func TestWrongUse(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"ehco", `millbench: unknown command "ehco": did you mean echo?`},
		{"help ehco", `unknown command "ehco"`},
		{"echo --nonsense", "unknown flag --nonsense"},
		{"echo --conections 5", "unknown flag --conections: did you mean --connections?"},
		{"echo --loops", "--loops: value missing: want a whole number from 0 up"},
		{"echo --hgrm --quiet", "--hgrm: value missing before --quiet: want the name of a file"},
		{"echo --size=", "--size: empty value: leave it out, or give a size from 1 byte up"},
		{"echo --url=ws://a/ --url=ws://b/", `--url: given twice, as "ws://a/" and "ws://b/": want one`},
		{"echo ws://a/ ws://b/", `unexpected argument "ws://b/"`},
		{"echo --url ws://a/ ws://b/", `unexpected argument "ws://b/"`},
		{"echo --rate 5", "--rate: echo has no such flag (only rate, sweep, slow, broadcast)"},
		{"rate --in-flight 5", "--in-flight: rate has no such flag (only echo, slow, broadcast)"},
		{"idle --reset", "--reset: idle has no such flag (only churn, wave)"},
	} {
		expectMisuse(t, strings.Fields(c.args), c.want)
	}
	s := newStage()
	s.expect(t, 2, nil, "Usage: millbench COMMAND [flags] [URL]", "millbench help COMMAND", "Exit status:")
	if s.stdout.Len() > 0 {
		t.Errorf("without a command: stdout %q", s.stdout.String())
	}
}

func TestOverview(t *testing.T) {
	for _, arg := range []string{"help", "--help", "-h"} {
		s := newStage()
		s.expect(t, 0, []string{arg})
		for _, scenario := range result.Scenarios() {
			if line := regexp.MustCompile(`(?m)^  ` + scenario + `  +\S`); !line.MatchString(s.stdout.String()) {
				t.Errorf("%s lacks %s:\n%s", arg, scenario, s.stdout.String())
			}
		}
	}
	s := newStage()
	s.expect(t, 0, []string{"--version"})
	if !strings.HasPrefix(s.stdout.String(), "millbench ") {
		t.Errorf("--version: %q", s.stdout.String())
	}
}

// TestHelp: a scenario's help has its flags and no other scenario's.
func TestHelp(t *testing.T) {
	flags := make(map[string][]string) // that the tests set, by scenario
	for _, c := range settings {
		args := strings.Fields(c.args)
		for _, arg := range args[1:] {
			if name, ok := strings.CutPrefix(arg, "--"); ok {
				name, _, _ = strings.Cut(name, "=")
				flags[args[0]] = append(flags[args[0]], name)
			}
		}
	}
	output := []string{"json", "hgrm", "report", "fail-if", "quiet"}
	for _, scenario := range result.Scenarios() {
		s := newStage()
		s.expect(t, 0, []string{"help", scenario})
		fromHelp := s.stdout.String()
		s.expect(t, 0, []string{scenario, "--help"})
		text := s.stdout.String()
		if text != fromHelp || !strings.HasPrefix(text, "Usage: millbench "+scenario+" [flags] [URL]\n") || !strings.Contains(text, "Exit status:") {
			t.Errorf("%s --help, after %q:\n%s", scenario, fromHelp, text)
		}
		for _, name := range slices.Concat(flags[scenario], output) {
			if n := len(regexp.MustCompile(`(?m)^  --`+name+`( [A-Z]+)?\n {8}\S`).FindAllString(text, -1)); n != 1 {
				t.Errorf("%s --help has --%s %d times", scenario, name, n)
			}
		}
		if strings.Contains(text, "--waves") != (scenario == result.Wave) {
			t.Errorf("%s --help: only wave has --waves", scenario)
		}
	}
}
