package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/asynclog"
)

// logging is the server's way to its Logger. Whoever logs, a loop's leader or the
// watchdog, with locks held or without, only puts the record into a queue: see
// package asynclog.
type logging struct {
	once    sync.Once
	handler *asynclog.Handler
	logger  *slog.Logger
}

// log is where the server logs, from the first call on, also before the start and
// after the end. It never blocks.
func (s *Server) log() *slog.Logger {
	s.logging.once.Do(func() {
		inner := slog.Handler(defaultHandler{})
		if s.Logger != nil {
			inner = s.Logger.Handler()
		}
		queue, ok := inner.(*asynclog.Handler)
		if !ok {
			queue = asynclog.New(inner)
		}
		s.logging.handler, s.logging.logger = queue, slog.New(queue)
	})
	return s.logging.logger
}

// logWait is how long the server's end waits for a handler that has records to
// write.
const logWait = time.Second

// flushLog waits until what was logged is written, or until the handler of Logger
// proves to be stuck; what waits then is written if it ever goes on.
func (s *Server) flushLog(ctx context.Context) {
	s.log()
	ctx, cancel := context.WithTimeout(ctx, logWait)
	defer cancel()
	_ = s.logging.handler.Flush(ctx) // there is nobody to be told
}

// logDropped is how many records did not reach the handler, or were left out.
func (s *Server) logDropped() uint64 {
	s.log()
	return s.logging.handler.Dropped() + s.details.leftOutInAll.Load()
}

// defaultHandler is that of slog.Default, whichever it is when it is called.
type defaultHandler struct{}

func (defaultHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return slog.Default().Enabled(ctx, level)
}

func (defaultHandler) Handle(ctx context.Context, r slog.Record) error {
	return slog.Default().Handler().Handle(ctx, r)
}

func (defaultHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return slog.Default().Handler().WithAttrs(attrs)
}

func (defaultHandler) WithGroup(name string) slog.Handler {
	return slog.Default().Handler().WithGroup(name)
}
