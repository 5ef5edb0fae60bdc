package flags_test

import (
	"errors"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flags"
)

// sample is a command with a flag of each sort, and what they set.
type sample struct {
	flags.Set
	size    int64
	names   []string
	verbose bool
	log     string
	url     string
}

func newSample() *sample {
	s := &sample{}
	s.Set = flags.Set{
		Command: "tool run", Prefix: "TOOL_", Operand: "url", Aliases: map[string]string{"s": "max-size"},
		Options: []flags.Option{
			{Name: "max-size", Value: "SIZE", Help: "the most,\nin bytes", Default: "1k", Set: flags.Size(&s.size, 1, 1<<20)},
			{Name: "name", Value: "NAME", Help: "a name", Set: flags.Texts(&s.names)},
			{Name: "verbose", Help: "more words", Set: flags.Bool(&s.verbose)},
			{Name: "log", Value: "MODE", Help: "how to log", Default: "off", Alone: "on", Set: flags.Name(&s.log, []string{"off", "on"})},
			{Name: "url", Value: "URL", Help: "where", Set: flags.Text(&s.url)},
		},
		Unknown: func(name string) string {
			if name == "walk" {
				return "run has no such flag (only stroll)"
			}
			return ""
		},
	}
	return s
}

// environment looks up NAME=VALUE texts.
func environment(texts ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, text := range texts {
			if value, ok := strings.CutPrefix(text, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

// TestRead: flags win over the environment, and that over the defaults.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		args, env string
		want      sample
		byHand    string
	}{
		{"", "", sample{size: 1024, log: "off"}, ""},
		{"--max-size 2k", "", sample{size: 2048, log: "off"}, "max-size"},
		{"-max-size=2k", "TOOL_MAX_SIZE=3k", sample{size: 2048, log: "off"}, "max-size"},
		{"", "TOOL_MAX_SIZE=3k", sample{size: 3072, log: "off"}, "max-size"},
		{"-s 5 -s 6", "", sample{size: 6, log: "off"}, "max-size"},
		{"--name a --name=b,c", "TOOL_NAME=x", sample{size: 1024, names: []string{"a", "b,c"}, log: "off"}, "name"},
		{"--verbose ws://a/", "", sample{size: 1024, verbose: true, log: "off", url: "ws://a/"}, "verbose url"},
		{"--verbose=false", "TOOL_VERBOSE=true", sample{size: 1024, log: "off"}, "verbose"},
		{"ws://a/ --log", "", sample{size: 1024, log: "on", url: "ws://a/"}, "log url"},
		{"--log --verbose", "", sample{size: 1024, log: "on", verbose: true}, "log verbose"},
		{"--log off --verbose", "TOOL_LOG=on", sample{size: 1024, log: "off", verbose: true}, "log verbose"},
		{"--name --verbose", "", sample{size: 1024, names: []string{"--verbose"}, log: "off"}, "name"},
		{"-- -s", "", sample{size: 1024, log: "off", url: "-s"}, "url"},
		{"-", "", sample{size: 1024, log: "off", url: "-"}, "url"},
		{"--name=", "", sample{size: 1024, names: []string{""}, log: "off"}, "name"},
	} {
		s := newSample()
		byHand, err := s.Read(strings.Fields(tt.args), environment(tt.env))
		if err != nil {
			t.Errorf("%q, %q: %v", tt.args, tt.env, err)
			continue
		}
		got := sample{size: s.size, names: s.names, verbose: s.verbose, log: s.log, url: s.url}
		if got.size != tt.want.size || strings.Join(got.names, "|") != strings.Join(tt.want.names, "|") || len(got.names) != len(tt.want.names) ||
			got.verbose != tt.want.verbose || got.log != tt.want.log || got.url != tt.want.url {
			t.Errorf("%q, %q: %+v, want %+v", tt.args, tt.env, got, tt.want)
		}
		for _, name := range strings.Fields(tt.byHand) {
			if !byHand[name] {
				t.Errorf("%q, %q: %s was given, by hand were %v", tt.args, tt.env, name, byHand)
			}
		}
		if len(byHand) != len(strings.Fields(tt.byHand)) {
			t.Errorf("%q, %q: by hand %v, want %s", tt.args, tt.env, byHand, tt.byHand)
		}
	}
}

// TestWrongUse: an error is one line with the flag, what was wrong and what is
// allowed.
func TestWrongUse(t *testing.T) {
	const lists = " (tool run --help lists the flags that are allowed)"
	for _, tt := range []struct{ args, env, want string }{
		{"--max-size 2m", "", `--max-size: invalid value "2m": want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
		{"-s 0", "", `--max-size: invalid value "0": want `},
		{"", "TOOL_MAX_SIZE=x", `TOOL_MAX_SIZE: invalid value "x": want `},
		{"--log loud", "", `--log: invalid value "loud": want one of off, on`},
		{"--verbose=2", "", `--verbose: invalid value "2": want no value, or true or false`},
		{"--nonsense", "", "flag provided but not defined: -nonsense" + lists},
		{"--max-szie 1", "", "flag provided but not defined: -max-szie: did you mean --max-size?" + lists},
		{"--hepl", "", "flag provided but not defined: -hepl: did you mean --help?" + lists},
		{"--walk", "", "--walk: run has no such flag (only stroll)"},
		{"--name", "", "flag needs an argument: -name" + lists},
		{"---name x", "", "bad flag syntax: ---name" + lists},
		{"--=x", "", "bad flag syntax: --=x" + lists},
		{"a b", "", `unexpected argument "b" (--url is given already, tool run --help lists the flags)`},
		{"--url a b", "", `unexpected argument "b" (--url is given already`},
	} {
		s := newSample()
		if _, err := s.Read(strings.Fields(tt.args), environment(tt.env)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q, %q: %v, want %s", tt.args, tt.env, err, tt.want)
		}
	}
	s := newSample()
	s.Operand = ""
	if _, err := s.Read([]string{"now"}, os.LookupEnv); err == nil || err.Error() != `unexpected argument "now" (only flags are allowed, tool run --help lists them)` {
		t.Error(err)
	}
	for _, help := range []string{"-h", "--help", "-help"} {
		if _, err := newSample().Read([]string{"--verbose", help, "--nonsense"}, os.LookupEnv); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v, want flag.ErrHelp", help, err)
		}
	}
	s = newSample()
	s.Options[0].Default = "none"
	if _, err := s.Read(nil, environment("")); err == nil || !strings.HasPrefix(err.Error(), `the default of --max-size: invalid value "none": want `) {
		t.Error(err)
	}
}

func TestPrint(t *testing.T) {
	s := newSample()
	var out strings.Builder
	for _, o := range s.Options[:2] {
		s.Print(&out, o, "none")
	}
	s.Prefix = ""
	s.Print(&out, s.Options[2], "")
	const want = "  --max-size SIZE  [TOOL_MAX_SIZE]\n        the most,\n        in bytes\n        (default 1k)\n" +
		"  --name NAME  [TOOL_NAME]\n        a name\n        (default none)\n" +
		"  --verbose\n        more words\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "64b": 64, "64k": 64 << 10, "64K": 64 << 10, "64kB": 64 << 10, "64KiB": 64 << 10, "1m": 1 << 20, "1MiB": 1 << 20,
		"1g": 1 << 30, "3GiB": 3 << 30, "-1k": -1024, "9223372036854775807": math.MaxInt64, "8589934591g": 8589934591 << 30,
	} {
		if n, ok := flags.ParseSize(text); !ok || n != want {
			t.Errorf("%s is %d, %v, want %d", text, n, ok, want)
		}
	}
	for _, text := range []string{"", "k", "1i", "1ib", "1kk", "1t", "1.5k", "x", "1 k", "99999999999999999999", "8589934592g", "9223372036854775807k", "-8589934593g"} {
		if n, ok := flags.ParseSize(text); ok {
			t.Errorf("%q is %d bytes", text, n)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1024: "1KiB", 1536: "1536", 5 << 20: "5MiB", 1 << 30: "1GiB", 1 << 40: "1024GiB"} {
		if got := flags.FormatSize(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// FuzzParseSize: what is printed of a size is that size again.
func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"64k", "1GiB", "-1", "8589934592g", "1ib"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := flags.ParseSize(text)
		if !ok {
			return
		}
		if again, ok := flags.ParseSize(flags.FormatSize(n)); !ok || again != n {
			t.Errorf("%q is %d, printed %s, which is %d, %v", text, n, flags.FormatSize(n), again, ok)
		}
	})
}

// TestValues: what is wrong with a value is told with what it may be.
func TestValues(t *testing.T) {
	var n int
	var d time.Duration
	var level int
	levels := flags.Choice(&level, map[string]int{"low": 1, "high": 2}, "low", "high")
	for _, tt := range []struct {
		set  flags.Setter
		text string
		want string // of the error; "": none
	}{
		{flags.Whole(&n, 1, math.MaxInt), "7", ""},
		{flags.Whole(&n, 1, math.MaxInt), "0", "a whole number from 1 up"},
		{flags.Whole(&n, 1, 9), "10", "a whole number from 1 to 9"},
		{flags.Whole(&n, 1, 9), "1.5", "a whole number from 1 to 9"},
		{flags.Size(&n, 0, flags.Unbounded), "1g", ""},
		{flags.Size(&n, 0, flags.Unbounded), "-1", "a size such as 65536, 64k or 1MiB, from 0 byte up"},
		{flags.Duration(&d, time.Second, time.Minute), "0", "a time with its unit such as 30s or 5m, from 1s to 1m0s"},
		{flags.Duration(&d, 0, flags.Unbounded), "0", ""},
		{flags.Duration(&d, 0, flags.Unbounded), "-1s", "a time from 0 up with its unit such as 500ms, 30s or 5m"},
		{flags.Duration(&d, 1, flags.Unbounded), "0", "a time above 0 with its unit such as 500ms, 30s or 5m"},
		{flags.Duration(&d, time.Second, flags.Unbounded), "9", "a time from 1s up with its unit such as 30s or 5m"},
		{flags.DurationOrZero(&d, time.Second, time.Minute), "0", ""},
		{flags.DurationOrZero(&d, time.Second, time.Minute), "5", "0 or a time with its unit"},
		{levels, "high", ""},
		{levels, "top", "one of low, high"},
	} {
		err := tt.set(tt.text)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
	if n != 1<<30 || d != 0 || level != 2 {
		t.Errorf("kept %d, %v, %d", n, d, level)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"help", "connections", "connect-rate", "size", "loops", "trusted-proxies"}
	for mistyped, want := range map[string]string{
		"conections": "connections", "connectoins": "connections", "connection": "connections", "connectrate": "connect-rate",
		"sise": "size", "szie": "size", "loop": "loops", "lops": "loops", "sz": "", "x": "", "nonsense": "", "": "", "rate": "",
		"trusted-proxy": "trusted-proxies", "trusted-prx": "",
	} {
		if got := flags.Nearest(mistyped, names); got != want {
			t.Errorf("%q: %q, want %q", mistyped, got, want)
		}
	}
}
