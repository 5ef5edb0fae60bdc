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

func (l *loopOptions) options() []flags.Option {
	engines := poller.Engines()
	return []flags.Option{
		flags.New("poller", "ENGINE", "how the kernel is asked for events: "+strings.Join(engines, " or "), append(engines, "")[0], flags.Name(&l.engine, engines)).Sets("Runtime.Engine"),
		flags.New("loops", "N", "event loops; 0 is one for each processor", "0", flags.Whole(&l.loops, 0, noMost)).Sets("Runtime.Loops"),
		flags.New("max-workers", "N", "goroutines that blocked handlers may hold, the loops' own included", "1024", flags.Whole(&l.maxWorkers, 0, noMost)).Sets("Runtime.Workers"),
	}
}

func (l *loopOptions) apply(s *server.Server) (err error) {
	s.Runtime.Loops, s.Runtime.Workers = l.loops, l.maxWorkers
	s.Runtime.Engine, err = poller.New(l.engine)
	return err
}
