// Package cli is the command millbench: its subcommands, flags, progress, files
// and exit statuses. Read cli.go for what there is, run.go for what a run is,
// options.go for its flags.
package cli

import (
	"context"
	"io"
	"os"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/flags"
)

// held is an exit status besides those of package flags.
const held = 3

const statuses = `
Exit status:
  0  all went well
  1  something went wrong in the run (the summary says what), it ended early or was
     interrupted, nothing was measured, or a figure of --fail-if was not: one that is
     not known is never within its limit
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
	// Slices loads a server as it is told to on stdin.
	Slices func(context.Context, bench.Target, bench.Scenario) error
}

// Main runs a subcommand with its flags and gives the exit status, see statuses.
// Results go to stdout; progress and errors, a line each, to stderr.
func (a *App) Main(args []string) (status int) {
	p := flags.Program{
		Name: "millbench", Usage: "[flags] [URL]", About: about, Notes: example + statuses,
		Stdout: a.Stdout, Stderr: a.Stderr,
	}
	for _, s := range scenarios {
		p.Commands = append(p.Commands, flags.Command{Name: s.name, About: s.about,
			Main: func(args []string) int { return a.scenario(s, args) }})
	}
	p.Commands = append(p.Commands, flags.Command{Name: "compare", About: "servers against each other, in turns, with intervals of confidence",
		Main: a.compareServers})
	return p.Main(args)
}

const about = "Loads a WebSocket server with many connections and measures it."

const example = `Example:
  millbench echo --connections 1000 --size 64 --report echo.html ws://127.0.0.1:9001/
`
