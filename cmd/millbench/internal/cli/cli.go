// Package cli is the command millbench: its subcommands, flags, progress, files
// and exit statuses. Read cli.go for what there is, run.go for what a run is,
// options.go for its flags.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
)

// Exit statuses.
const (
	done   = 0
	failed = 1
	misuse = 2
	held   = 3
)

const statuses = `
Exit status:
  0  all went well
  1  something went wrong in the run (the summary says what), nothing was measured,
     a figure of --fail-if was not, or the run was interrupted
  2  wrong flags, or a file that can't be written: nothing was run
  3  a condition of --fail-if held, and nothing else was wrong
`

// App is the command with what it needs from outside.
type App struct {
	Stdout, Stderr io.Writer
	// Terminal means that Stderr is one, in which a line can be rewritten.
	Terminal bool
	// Signals end a run: the first one early, the second at once.
	Signals <-chan os.Signal
	// Run is bench.RunWatched.
	Run func(context.Context, bench.Target, bench.Scenario, bench.Watch) (*result.Result, error)
}

// command is a subcommand.
type command struct {
	name, about string
	main        func(a *App, args []string) (status int)
}

// commands are all subcommands, in the order of the help.
func commands() []command {
	var all []command
	for _, s := range scenarios {
		all = append(all, command{s.name, s.about, func(a *App, args []string) int { return a.scenario(s, args) }})
	}
	return append(all, command{"compare", "servers against each other, in turns, with intervals of confidence",
		(*App).compareServers})
}

// Main runs a subcommand with its flags and gives the exit status, see statuses.
// Results go to stdout; progress and errors, a line each, to stderr.
func (a *App) Main(args []string) (status int) {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "":
		printOverview(a.Stderr)
		return misuse
	case "help", "--help", "-help", "-h":
		if len(args) > 0 {
			return a.Main([]string{args[0], "--help"})
		}
		printOverview(a.Stdout)
		return done
	case "version", "--version", "-version":
		fmt.Fprintf(a.Stdout, "millbench %s (%s %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return done
	}
	for _, c := range commands() {
		if c.name == name {
			return c.main(a, args)
		}
	}
	fmt.Fprintf(a.Stderr, "millbench: unknown command %q: millbench help lists them\n", name)
	return misuse
}

const overviewHead = `Usage: millbench COMMAND [flags] [URL]

Loads a WebSocket server with many connections and measures it.

Commands:
`

const overviewTail = `
  help       print this; millbench help COMMAND lists a command's flags
  --version  print the version

Example:
  millbench echo --connections 1000 --size 64 --report echo.html ws://127.0.0.1:9001/
`

func printOverview(w io.Writer) {
	fmt.Fprint(w, overviewHead)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s  %s\n", c.name, c.about)
	}
	fmt.Fprint(w, overviewTail, statuses)
}

// version is what the Go tool wrote into the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
