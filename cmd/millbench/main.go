// Command millbench loads a WebSocket server and measures it.
//
//	millbench COMMAND [flags] [URL]
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/cmd/millbench/internal/cli"
)

func main() {
	if isChild, status := bench.RunChild(); isChild {
		os.Exit(status)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	app := cli.App{
		Stdout: os.Stdout, Stderr: os.Stderr, Terminal: cli.IsTerminal(os.Stderr),
		Signals: signals, Run: bench.RunWatched,
		Slices: func(ctx context.Context, target bench.Target, scenario bench.Scenario) error {
			return bench.Slices(ctx, target, scenario, os.Stdin, os.Stdout)
		},
	}
	os.Exit(app.Main(os.Args[1:]))
}
