package cli

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/internal/compare"
	"github.com/millrace/millrace/internal/flags"
)

// compareServers is the subcommand compare, with flags of its own. The first
// signal ends it with what was measured by then, the second at once.
func (a *App) compareServers(args []string) (status int) {
	say := func(text string) { fmt.Fprintln(a.Stderr, text) }
	status, _, err := interruptible(a.Signals, say, func(ctx context.Context) int {
		return compare.Main(ctx, args, a.Stdout, a.Stderr)
	})
	if err != nil {
		fmt.Fprintln(a.Stderr, "millbench compare:", err)
		return flags.Failed
	}
	return status
}
