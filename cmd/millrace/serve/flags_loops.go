package serve

import (
	"strings"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// loopOptions are how the machine is used.
type loopOptions struct {
	engine     string
	loops      int
	maxWorkers int
}

func (l *loopOptions) options() []option {
	engines := poller.Engines()
	return []option{
		{"poller", "ENGINE", "how the kernel is asked for events: " + strings.Join(engines, " or "), append(engines, "")[0], flags.Name(&l.engine, engines)},
		{"loops", "N", "event loops; 0 is one for each processor", "0", flags.Whole(&l.loops, 0, noMost)},
		{"max-workers", "N", "goroutines that blocked handlers may hold, the loops' own included", "1024", flags.Whole(&l.maxWorkers, 0, noMost)},
	}
}

func (l *loopOptions) apply(s *server.Server) (err error) {
	s.Runtime.Loops, s.Runtime.Workers = l.loops, l.maxWorkers
	s.Runtime.Engine, err = poller.New(l.engine)
	return err
}
