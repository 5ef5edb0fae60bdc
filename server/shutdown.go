package server

import (
	"context"
	"time"
)

// Shutdown stops the server gracefully: listeners close, every open connection
// gets a close frame with 1001 and Server.CloseTimeout for its answer, requests
// under way in net/http are finished. It returns nil when all connections are
// closed. When ctx is done first, the rest is closed at once, as by Close, and
// the error is ctx's. A handler that is still running is not interrupted; its
// connection closes when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	if !s.stop(draining) {
		return nil
	}
	if err := s.shutdownWeb(ctx); err != nil {
		_ = s.Close() // always nil
		return err
	}
	select {
	case <-s.watchdog.done:
		return nil
	case <-ctx.Done():
		_ = s.Close() // always nil
		return ctx.Err()
	}
}

// closeWait is how long Close waits for handlers that are still running.
const closeWait = time.Second

// Close stops the server at once: every open connection is closed without
// waiting for anything, with a close frame of 1001 where nothing else waits to be
// sent; Handler.Close is called
// for each. Close returns when that is done, or after a second if handlers are
// still running, whose connections close when they return. It returns nil.
func (s *Server) Close() error {
	if !s.stop(stopped) {
		return nil
	}
	s.closeWeb()
	select {
	case <-s.watchdog.done:
	case <-time.After(closeWait):
	}
	return nil
}

// stop asks the loops to end; false means that there are none.
func (s *Server) stop(why reason) bool {
	s.startOnce.Do(func() { s.startErr = ErrServerClosed })
	s.mu.Lock()
	s.stopping.Store(true)
	s.mu.Unlock()
	if s.startErr != nil {
		return false
	}
	for _, l := range s.loops {
		l.requestStop(why)
	}
	return true
}
