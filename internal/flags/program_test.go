package flags_test

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/flags"
)

// TestProgram: what is asked for goes to stdout with 0, what is wrong to stderr with 2.
func TestProgram(t *testing.T) {
	const hint = "Run 'tool help' for the commands.\n"
	const overview = "Usage: tool COMMAND [flags]\n\nA tool.\n\nCommands:\n" +
		"  run        run it\n  walk       walk it\n\n" +
		"  help       print this; tool help COMMAND lists a command's flags\n" +
		"  version    print the version, the commit and the Go version it was built with\n\nThe end.\n"
	for _, tt := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"", 2, "", overview},
		{"help", 0, overview, ""},
		{"--help", 0, overview, ""},
		{"-h", 0, overview, ""},
		{"help help", 0, overview, ""},
		{"help version", 0, overview, ""},
		{"help --help", 0, overview, ""},
		{"run --fast", 7, "run [--fast]", ""},
		{"run", 7, "run []", ""},
		{"help walk", 7, "walk [--help]", ""},
		{"help walk fast", 2, "", "tool: help: unexpected argument \"fast\": want one command\n" + hint},
		{"help wakl", 2, "", "tool: unknown command \"wakl\": did you mean walk?\n" + hint},
		{"runs", 2, "", "tool: unknown command \"runs\": did you mean run?\n" + hint},
		{"--hlep", 2, "", "tool: unknown command \"--hlep\": did you mean help?\n" + hint},
		{"fly", 2, "", "tool: unknown command \"fly\": want one of run, walk, help, version\n" + hint},
		{"--fast run", 2, "", "tool: --fast stands before the command: want one of run, walk, help, version first\n" + hint},
		{"version now", 2, "", "tool: version: unexpected argument \"now\": want none\n" + hint},
	} {
		var stdout, stderr strings.Builder
		command := func(name string) func([]string) int {
			return func(args []string) int {
				fmt.Fprint(&stdout, name, " ", args)
				return 7
			}
		}
		p := flags.Program{
			Name: "tool", About: "A tool.", Notes: "The end.", Stdout: &stdout, Stderr: &stderr,
			Commands: []flags.Command{{"run", "run it", command("run")}, {"walk", "walk it", command("walk")}},
		}
		if status := p.Main(strings.Fields(tt.args)); status != tt.status || stdout.String() != tt.stdout || stderr.String() != tt.stderr {
			t.Errorf("%q: status %d, stdout %q, stderr %q", tt.args, status, stdout.String(), stderr.String())
		}
	}
	for _, arg := range []string{"version", "--version", "-version"} {
		var stdout strings.Builder
		p := flags.Program{Name: "tool", Stdout: &stdout, Stderr: &stdout}
		if status := p.Main([]string{arg}); status != 0 || !regexp.MustCompile(`^tool \S+, commit .+, go\S+ `+runtime.GOOS+"/").MatchString(stdout.String()) {
			t.Errorf("%s: status %d, %q", arg, status, stdout.String())
		}
	}
}

func TestVersionOf(t *testing.T) {
	system := " " + runtime.GOOS + "/" + runtime.GOARCH
	built := &debug.BuildInfo{GoVersion: "go1.99", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}}}
	modified := &debug.BuildInfo{GoVersion: "go1.99", Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	for _, tt := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{built, "v1.2.3, commit abc, go1.99" + system},
		{modified, "(devel), commit abc (modified), go1.99" + system},
		{nil, "(devel), commit unknown, " + runtime.Version() + system},
	} {
		if got := flags.VersionOf(tt.info); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestCommandLine: what sh makes of the line is what it was made of.
func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{nil, ""},
		{[]string{"millbench", "echo", "--size", "64"}, "millbench echo --size 64"},
		{[]string{"a", "", "p99>5ms", "it's"}, `a '' 'p99>5ms' 'it'\''s'`},
		{[]string{"mine=./server -addr LISTEN"}, "'mine=./server -addr LISTEN'"},
	} {
		if got := flags.CommandLine(tt.words...); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.words, got, tt.want)
		}
	}
}
