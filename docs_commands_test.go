package millrace_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// strangers are the commands in the pages that are not ours: only the shell reads them.
var strangers = map[string]bool{
	"cd": true, "curl": true, "printf": true, "sha256sum": true, "cut": true, "kill": true, "mkdir": true, "openssl": true, "python3": true, "git": true, "systemctl": true, "export": true, "gh": true,
	"nats-server": true, "haproxy": true,
}

// TestDocsCommands: our commands in the pages exist, and so do their flags, with values
// that are taken.
func TestDocsCommands(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	c := commands{t: t, dir: t.TempDir()}
	for _, name := range []string{"millrace", "millbench"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(c.dir, name), "./cmd/"+name).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	t.Run("flags", c.checkFlags)
	for page, text := range pages(t) {
		for _, b := range blocksOf(page, text) {
			for _, problem := range c.checkBlock(b) {
				t.Errorf("%s:%d: %s", b.page, b.line, problem)
			}
		}
	}
	if c.served < 15 || c.loaded < 8 {
		t.Errorf("only %d commands of millrace and %d of millbench found", c.served, c.loaded)
	}
	for text, wrong := range map[string]bool{
		"millrace serve --max-message 64k": false, "millrace serve --max-mesage 64k": true, "millrace serve --max-message 64x": true, "millrace serve --listen": true,
		"MILLRACE_LISTEN=:80 millrace serve": false, "MILLRACE_LISTN=:80 millrace serve": true, "make bars": false, "make coffee": true, "millrace doctor --json": false,
		"millrace doctor --jsn": true, "go run ./cmd/millbench echo --connections 7": false, "go run ./cmd/millbench echo --rate 7": true, "go run ./nothing": true,
		"frobnicate": true, "echo 'half": true, "millbench compare --scenario echo-100": true, "millbench compare --scenarios echo-100 # yes": false,
	} {
		if problems := c.checkBlock(block{"", 0, "sh", text + "\n"}); (len(problems) > 0) != wrong {
			t.Errorf("%s: %q", text, problems)
		}
	}
}

type commands struct {
	t              *testing.T
	dir            string // where the programs are
	served, loaded int    // how many commands of ours were checked
}

// checkFlags: flags that the pages name in their text are there.
func (c *commands) checkFlags(t *testing.T) {
	known := map[string]bool{"--help": true, "--version": true, "--stop-timeout": true} // the last is docker's
	helps := [][]string{{"millrace", "serve", "--help"}, {"millrace", "doctor", "--help"}}
	for _, scenario := range []string{"echo", "rate", "sweep", "idle", "storm", "churn", "wave", "slow", "broadcast", "receive", "compare"} {
		helps = append(helps, []string{"millbench", "help", scenario})
	}
	for _, help := range helps {
		out, err := exec.Command(filepath.Join(c.dir, help[0]), help[1:]...).Output()
		if err != nil {
			t.Fatalf("%v: %v", help, err)
		}
		for _, flag := range regexp.MustCompile(`(?m)^  (--[a-z0-9-]+)`).FindAllStringSubmatch(string(out), -1) {
			known[flag[1]] = true
		}
	}
	if len(known) < 70 {
		t.Errorf("only %d flags found", len(known))
	}
	for page, text := range pages(t) {
		if !strings.HasPrefix(page, "docs/") && page != "README.md" && page != "SECURITY.md" {
			continue
		}
		for _, code := range inline.FindAllString(prose(text), -1) {
			for _, flag := range regexp.MustCompile(`[`+"`"+` ](--[a-z][a-z0-9-]+)`).FindAllStringSubmatch(code, -1) {
				if !known[flag[1]] {
					t.Errorf("%s names %s, which is no flag", page, flag[1])
				}
			}
		}
	}
}

// checkBlock gives what is wrong with a block's commands.
func (c *commands) checkBlock(b block) (problems []string) {
	switch b.language {
	case "sh":
		if out, err := exec.Command("sh", "-n", "-c", b.text).CombinedOutput(); err != nil {
			return []string{string(out)}
		}
		for line := range strings.Lines(b.text) {
			problems = append(problems, c.checkLine(line)...)
		}
	case "console":
		for line := range strings.Lines(b.text) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				problems = append(problems, c.checkLine(command)...)
			}
		}
	case "ini":
		for _, start := range regexp.MustCompile(`(?m)^ExecStart=\S*/(millrace .*)$`).FindAllStringSubmatch(b.text, -1) {
			problems = append(problems, c.checkLine(start[1])...)
		}
	case "yaml":
		for _, list := range regexp.MustCompile(`(?m)^ *args: (\[.*\])$`).FindAllStringSubmatch(b.text, -1) {
			var args []string
			if err := json.Unmarshal([]byte(list[1]), &args); err != nil {
				problems = append(problems, err.Error())
			}
			problems = append(problems, c.checkCommand(nil, append([]string{"millrace"}, args...))...)
		}
	}
	return problems
}

// word is one of a command line, with its quotes.
var word = regexp.MustCompile(`'[^']*'|"[^"]*"|&&|[;|#]|[^\s'";|#&]+`)

// checkLine checks the commands of a line.
func (c *commands) checkLine(line string) (problems []string) {
	var env, args []string
	check := func() {
		if len(args) > 0 {
			problems = append(problems, c.checkCommand(env, args)...)
		}
		env, args = nil, nil
	}
	for _, at := range word.FindAllStringIndex(line, -1) {
		text := line[at[0]:at[1]]
		glued := at[0] > 0 && !strings.ContainsAny(line[at[0]-1:at[0]], " \t&;|")
		switch {
		case text == "#" && !glued:
			check()
			return problems
		case text == "&&" || text == ";" || text == "|":
			check()
		case glued && len(args) > 0:
			args[len(args)-1] += strings.Trim(text, `'"`)
		case len(args) == 0 && strings.Contains(text, "="):
			env = append(env, text)
		default:
			args = append(args, strings.Trim(text, `'"`))
		}
	}
	check()
	return problems
}

// checkCommand checks one command.
func (c *commands) checkCommand(env, args []string) []string {
	switch line := strings.Join(args, " "); {
	case strings.HasPrefix(line, "go run ./cmd/"):
		return c.checkCommand(env, append([]string{strings.TrimPrefix(args[2], "./cmd/")}, args[3:]...))
	case args[0] == "go":
		return checkGo(args)
	case args[0] == "make" && len(args) > 1:
		makefile, err := os.ReadFile("Makefile")
		if err != nil || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(args[1])+`:|^CHECKS := .*\b`+regexp.QuoteMeta(args[1])+`\b`).Match(makefile) {
			return []string{"make has no target " + args[1]}
		}
		return nil
	case args[0] == "docker":
		for i, arg := range args {
			if arg == "serve" { // behind the image
				return c.checkCommand(env, append([]string{"millrace"}, args[i:]...))
			}
		}
		return nil
	case args[0] == "millrace" || args[0] == "millbench":
		return c.checkOurs(env, args)
	case strangers[args[0]]:
		return nil
	}
	return []string{"unknown command " + args[0]}
}

// checkGo: packages that are named by a path of ours exist.
func checkGo(args []string) (problems []string) {
	for _, arg := range args[1:] {
		folder, ours := strings.CutPrefix(arg, "github.com/millrace/millrace")
		if folder, _, _ = strings.Cut(folder, "@"); ours {
			arg = "." + folder
		}
		if strings.HasPrefix(arg, "./") {
			if _, err := os.Stat(strings.TrimSuffix(arg, "/...")); err != nil {
				problems = append(problems, err.Error())
			}
		}
	}
	return problems
}

// checkOurs runs a program of ours with a last flag that it has to refuse: then it has
// taken those before.
func (c *commands) checkOurs(env, args []string) []string {
	last := ""
	switch {
	case len(args) < 2 || args[1] == "help" || args[1] == "doctor" || args[1] == "--version":
	case args[0] == "millrace":
		last = "--max-workers" // the last that it reads
	case args[1] == "compare":
		last = "--reps"
	default:
		last = "--connections"
	}
	args = append([]string(nil), args...)
	if last != "" {
		args = append(args, last+"=?")
	}
	if args[0] == "millrace" {
		c.served++
	} else {
		c.loaded++
	}
	cmd := exec.Command(filepath.Join(c.dir, args[0]), args[1:]...)
	for _, variable := range append(os.Environ(), env...) {
		if !strings.HasPrefix(variable, "MILLRACE_CHAOS") && !strings.HasPrefix(variable, "MILLRACE_POLLER") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	out, _ := cmd.CombinedOutput() // the status tells
	status := cmd.ProcessState.ExitCode()
	if last == "" && status < 2 || last != "" && status == 2 && strings.Contains(string(out), last+`: invalid value "?"`) {
		return nil
	}
	return []string{strings.Join(args, " ") + ": " + string(out)}
}
