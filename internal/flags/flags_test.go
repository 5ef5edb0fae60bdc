package flags_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/flags"
)

// sample is a command with a flag of each sort, and what they set.
type sample struct {
	set     flags.Set
	size    int64
	names   []string
	verbose bool
	log     string
	url     string
	key     string
}

func newSample() *sample {
	s := &sample{}
	s.set = flags.Set{
		Command: "tool run", Usage: "[flags] [URL]", About: "Runs.", Notes: "That is all.",
		Prefix: "TOOL_", Operand: "url", Aliases: map[string]string{"s": "max-size"},
		Groups: []flags.Group{
			{Title: "Limits", Options: []flags.Option{
				flags.New("max-size", "SIZE", "the most,\nin bytes", "1k", flags.Size(&s.size, 1, 1<<20)).Sets("Limits.Size Limits.Max"),
			}},
			{Title: "Else", Options: []flags.Option{
				flags.New("name", "NAME", "a name", "", flags.Texts(&s.names)).Listed(),
				flags.New("verbose", "", "more words", "", flags.Bool(&s.verbose)),
				{Name: "log", Value: "MODE", Help: "how to log", Default: "off", Alone: "on", Set: flags.Name(&s.log, []string{"off", "on"})},
				flags.New("url", "URL", "where", "", flags.Text(&s.url)).Once(),
				flags.New("key", "FILE", "the key", "", flags.Text(&s.key)).Once(),
			}},
		},
		Foreign: func(variable string) bool { return variable == "TOOL_PORT=1" },
		Elsewhere: func(name string) string {
			if name == "walk" {
				return "run has no such flag (only stroll)"
			}
			return ""
		},
		Check: func(flags.Values) error {
			if s.key == s.url && s.key != "" {
				return errors.New("--key is --url: want two")
			}
			return nil
		},
	}
	return s
}

// TestRead: flags win over the environment, and that over the defaults.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		args, env string
		want      sample
		values    string // NAME=SOURCE=TEXT of those that somebody has given
	}{
		{"", "", sample{size: 1024, log: "off"}, ""},
		{"--max-size 2k", "", sample{size: 2048, log: "off"}, "max-size=--max-size=2k"},
		{"-max-size=2k", "TOOL_MAX_SIZE=3k", sample{size: 2048, log: "off"}, "max-size=--max-size=2k"},
		{"", "TOOL_MAX_SIZE=3k", sample{size: 3072, log: "off"}, "max-size=TOOL_MAX_SIZE=3k"},
		{"-s 5 -s 6", "", sample{size: 6, log: "off"}, "max-size=--max-size=6"},
		{"--name a --name=b,c", "TOOL_NAME=x", sample{size: 1024, names: []string{"a", "b,c"}, log: "off"}, "name=--name=a,b,c"},
		{"--verbose ws://a/", "TOOL_PORT=1", sample{size: 1024, verbose: true, log: "off", url: "ws://a/"}, "verbose=--verbose=true url=--url=ws://a/"},
		{"--verbose=false", "TOOL_VERBOSE=true", sample{size: 1024, log: "off"}, "verbose=--verbose=false"},
		{"ws://a/ --log", "OTHER=1", sample{size: 1024, log: "on", url: "ws://a/"}, "log=--log=on url=--url=ws://a/"},
		{"--log --verbose", "", sample{size: 1024, log: "on", verbose: true}, "log=--log=on verbose=--verbose=true"},
		{"--log off --verbose", "TOOL_LOG=on", sample{size: 1024, log: "off", verbose: true}, "log=--log=off verbose=--verbose=true"},
		{"--name=--verbose", "", sample{size: 1024, names: []string{"--verbose"}, log: "off"}, "name=--name=--verbose"},
		{"--name --other", "", sample{size: 1024, names: []string{"--other"}, log: "off"}, "name=--name=--other"},
		{"-- -s", "", sample{size: 1024, log: "off", url: "-s"}, "url=--url=-s"},
		{"-", "", sample{size: 1024, log: "off", url: "-"}, "url=--url=-"},
	} {
		s := newSample()
		values, err := s.set.Read(strings.Fields(tt.args), []string{tt.env})
		if err != nil {
			t.Errorf("%q, %q: %v", tt.args, tt.env, err)
			continue
		}
		if s.set = (flags.Set{}); !reflect.DeepEqual(*s, tt.want) {
			t.Errorf("%q, %q: %+v, want %+v", tt.args, tt.env, *s, tt.want)
		}
		for _, given := range strings.Fields(tt.values) {
			name, rest, _ := strings.Cut(given, "=")
			source, text, _ := strings.Cut(rest, "=")
			if want := (flags.Value{Text: text, Source: source}); values[name] != want {
				t.Errorf("%q, %q: %s is %+v, want %+v", tt.args, tt.env, name, values[name], want)
			}
			delete(values, name)
		}
		for name, v := range values {
			if !v.ByDefault || v.Source != "the default of --"+name {
				t.Errorf("%q, %q: %s is %+v, want the default", tt.args, tt.env, name, v)
			}
		}
	}
}

// wrongUses are command lines, variables, and what the one line of the error says.
var wrongUses = []struct{ args, env, want string }{
	{"--max-size 2m", "", `--max-size: invalid value "2m": want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"-s 0", "", `--max-size: invalid value "0": want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"-s x -s 2", "", `--max-size: invalid value "x": want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"--max-size", "", `--max-size: value missing: want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"-s", "", `--max-size: value missing: want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"--max-size=", "", `--max-size: empty value: leave it out, or give a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"", "TOOL_MAX_SIZE=", `TOOL_MAX_SIZE: empty value: leave it out, or give a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"", "TOOL_MAX_SIZE=x", `TOOL_MAX_SIZE: invalid value "x": want a size such as 65536, 64k or 1MiB, from 1 byte to 1MiB`},
	{"", "TOOL_MAX_SIEZ=1", `unknown variable TOOL_MAX_SIEZ: did you mean TOOL_MAX_SIZE?`},
	{"", "TOOL_max_size=1", `unknown variable TOOL_max_size: did you mean TOOL_MAX_SIZE?`},
	{"", "TOOL_COLOUR=1", `unknown variable TOOL_COLOUR`},
	{"", "TOOL_PORT=2", `unknown variable TOOL_PORT`},
	{"--key --url a", "", `--key: value missing before --url: want FILE`},
	{"--key --url=a", "", `--key: value missing before --url=a: want FILE`},
	{"--key=", "", `--key: empty value: leave it out, or give FILE`},
	{"--key a --key b", "", `--key: given twice, as "a" and "b": want one`},
	{"--log loud", "", `--log: invalid value "loud": want one of off, on`},
	{"--verbose=2", "", `--verbose: invalid value "2": want no value, or true or false`},
	{"--nonsense", "", "unknown flag --nonsense"},
	{"--max-szie 1", "", "unknown flag --max-szie: did you mean --max-size?"},
	{"-Max_Size=1", "", "unknown flag --Max_Size: did you mean --max-size?"},
	{"--hepl", "", "unknown flag --hepl: did you mean --help?"},
	{"--walk", "", "--walk: run has no such flag (only stroll)"},
	{"", "TOOL_WALK=1", "TOOL_WALK: run has no such flag (only stroll)"},
	{"--name", "", "--name: value missing: want NAME"},
	{"---name x", "", "bad flag syntax: ---name: want --NAME, --NAME VALUE or --NAME=VALUE"},
	{"--=x", "", "bad flag syntax: --=x: want --NAME, --NAME VALUE or --NAME=VALUE"},
	{"a b", "", `unexpected argument "b": --url is "a" already`},
	{"--url a b", "", `unexpected argument "b": --url is "a" already`},
	{"b --url a", "", `--url: given twice, as "b" and "a": want one`},
	{"a --key a", "", "--key is --url: want two"},
}

// TestWrongUse: an error is one line with the flag, what was wrong and what is
// allowed, and a line behind it says where to read more.
func TestWrongUse(t *testing.T) {
	for _, tt := range wrongUses {
		s := newSample()
		_, err := s.set.Read(strings.Fields(tt.args), []string{tt.env})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q, %q: %v, want %s", tt.args, tt.env, err, tt.want)
			continue
		}
		var stdout, stderr strings.Builder
		status := s.set.Refuse(err, &stdout, &stderr)
		want := "tool run: " + tt.want + "\nRun 'tool run --help' for its flags and what they take.\n"
		if status != flags.Misuse || stdout.Len() > 0 || stderr.String() != want {
			t.Errorf("%q, %q: status %d, stdout %q, stderr %q", tt.args, tt.env, status, stdout.String(), stderr.String())
		}
	}
	s := newSample()
	s.set.Operand = ""
	if _, err := s.set.Read([]string{"now"}, nil); err == nil || err.Error() != `unexpected argument "now": want flags only` {
		t.Error(err)
	}
	s = newSample()
	s.set.Groups[0].Options[0].Default = "none"
	if _, err := s.set.Read(nil, nil); err == nil || !strings.HasPrefix(err.Error(), `the default of --max-size: invalid value "none": want `) {
		t.Error(err)
	}
}

// TestFail: each line of an error says whose it is.
func TestFail(t *testing.T) {
	var stderr strings.Builder
	if status := newSample().set.Fail(errors.Join(errors.New("a"), errors.New("b")), &stderr); status != flags.Failed || stderr.String() != "tool run: a\ntool run: b\n" {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}

func TestHelp(t *testing.T) {
	const want = `Usage: tool run [flags] [URL]

Runs.

Each flag can also be set by the environment variable behind it; the flag wins.

Limits:
  --max-size SIZE  [TOOL_MAX_SIZE]
        the most,
        in bytes
        (default 1k)

Else:
  --name NAME  [TOOL_NAME]
        a name
        (default none)
  --verbose  [TOOL_VERBOSE]
        more words
`
	for _, help := range []string{"-h", "--help", "-help"} {
		s := newSample()
		s.set.Groups[1].Options = s.set.Groups[1].Options[:2]
		_, err := s.set.Read([]string{"--verbose", help, "--nonsense"}, []string{"TOOL_COLOUR=1"})
		if !errors.Is(err, flags.ErrHelp) {
			t.Errorf("%s: %v, want ErrHelp", help, err)
		}
		var stdout, stderr strings.Builder
		status := s.set.Refuse(err, &stdout, &stderr)
		rest, ok := strings.CutPrefix(stdout.String(), want)
		if status != flags.Done || stderr.Len() > 0 || !ok || !strings.HasPrefix(rest, "\nSIZE is a number of bytes") || !strings.HasSuffix(rest, "takes it.\n\nThat is all.\n") {
			t.Errorf("%s: status %d, stderr %q, stdout\n%s", help, status, stderr.String(), stdout.String())
		}
	}
	s := newSample()
	s.set.Prefix, s.set.Notes, s.set.Groups = "", "", s.set.Groups[1:]
	var out strings.Builder
	s.set.PrintHelp(&out)
	if text := out.String(); !strings.Contains(text, "  --verbose\n        more words\n  --log") || strings.Contains(text, "environment") || strings.Contains(text, "SIZE is") || strings.Contains(text, "0 is") {
		t.Errorf("without a prefix, sizes and fields:\n%s", text)
	}
}

// TestSetting: the option of a field is found by the field's whole name.
func TestSetting(t *testing.T) {
	set := newSample().set
	for field, want := range map[string]bool{"Limits.Size": true, "Limits.Max": true, "Limits": false, "Size": false, "": false} {
		o := set.Setting(field)
		if (o != nil) != want || want && o.Name != "max-size" {
			t.Errorf("%q is set by %v", field, o)
		}
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
	var level, off int
	var u uint64
	var alsoOff time.Duration
	var list []int
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
		{flags.Duration(&d, 0, flags.Unbounded), "10MS", ""},
		{flags.Duration(&d, 0, flags.Unbounded), "1M30S", ""},
		{flags.Size(&n, 0, flags.Unbounded), "1KIB", ""},
		{flags.Size(&n, 0, flags.Unbounded), "1g", ""},
		{flags.Size(&n, 0, flags.Unbounded), "-1", "a size such as 65536, 64k or 1MiB, from 0 up"},
		{flags.Duration(&d, time.Second, time.Minute), "0", "a time with its unit such as 30s or 5m, from 1s to 1m0s"},
		{flags.Duration(&d, 0, flags.Unbounded), "0", ""},
		{flags.Duration(&d, 0, flags.Unbounded), "-1s", "a time from 0 up with its unit such as 500ms, 30s or 5m"},
		{flags.Duration(&d, 1, flags.Unbounded), "0", "a time above 0 with its unit such as 500ms, 30s or 5m"},
		{flags.Duration(&d, time.Second, flags.Unbounded), "9", "a time from 1s up with its unit such as 30s or 5m"},
		{flags.Whole(&u, 0, math.MaxUint64), "18446744073709551615", ""},
		{flags.Whole(&u, 0, math.MaxUint64), "18446744073709551616", "a whole number from 0 up"},
		{flags.Whole(&u, 0, math.MaxUint64), "-1", "a whole number from 0 up"},
		{flags.Whole(&n, -1, math.MaxInt), "-2", "a whole number from -1 up"},
		{flags.Whole(&n, 0, 9), "18446744073709551615", "a whole number from 0 to 9"},
		{flags.OrZero(&d, flags.Duration(&d, time.Second, time.Minute)), "5", "0, or a time with its unit"},
		{flags.OrOff(&off, flags.Whole(&off, 0, 9)), "off", ""},
		{flags.OrOff(&alsoOff, flags.Duration(&alsoOff, 0, time.Minute)), "-1", ""},
		{flags.OrOff(&off, flags.Whole(&off, 0, 9)), "-2", "off, or a whole number from 0 to 9"},
		{flags.List(&list, strconv.Atoi), "1, 2,", ""},
		{flags.List(&list, strconv.Atoi), "3", ""},
		{flags.List(&list, strconv.Atoi), "4,x", `strconv.Atoi: parsing "x"`},
		{flags.List(&list, strconv.Atoi), ",", `strconv.Atoi: parsing ""`},
		{flags.OrZero(&d, flags.Duration(&d, time.Second, time.Minute)), "0", ""},
		{levels, "high", ""},
		{levels, "top", "one of low, high"},
	} {
		err := tt.set(tt.text)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
	if n != 1<<30 || d != 0 || level != 2 || u != math.MaxUint64 || off != -1 || alsoOff != -1 || !slices.Equal(list, []int{1, 2, 3}) {
		t.Errorf("kept %d, %v, %d, %d, %d, %d, %v", n, d, level, u, off, alsoOff, list)
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
