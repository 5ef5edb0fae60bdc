package server

import (
	"context"
	"time"
)

// Shutdown is Drain with the zero options: all connections are closed at once with
// 1001 and have Server.Timeouts.Close for their answer, requests under way in
// net/http are finished, also those that it was handed and had not begun with. It
// returns nil when all connections are closed. When ctx is done first, the rest is
// closed at once, as by Close, and the error is ctx's. A handler that is still running
// is not interrupted; its connection closes when it returns.
func (s *Server) Shutdown(ctx context.Context) error { return s.Drain(ctx, DrainOptions{}) }

// closeWait is how long Close waits for handlers that are still running.
const closeWait = time.Second

// Close stops the server at once, also in the midst of a Drain: every open
// connection is closed without waiting for anything, with a close frame of 1001
// where nothing else waits to be sent; Handler.Close is called for each. Close
// returns when that is done, or after a second if handlers are still running, whose
// connections close when they return. It gives the Logger's handler up to a second
// more to write what was logged. It returns nil.
func (s *Server) Close() error {
	s.closeAll()
	s.flushLog(context.Background())
	return nil
}

// closeAll is Close without the log's part.
func (s *Server) closeAll() {
	if !s.neverStarts() {
		return
	}
	s.enter(PhaseDraining)
	s.stop(stopped, 0)
	s.closeNetHTTP()
	s.awaitLoops()
	s.enter(PhaseStopped)
}

// awaitLoops waits until the loops, which were told to stop, have ended, or until
// only handlers keep them.
func (s *Server) awaitLoops() {
	select {
	case <-s.group.Done():
	case <-time.After(closeWait):
	}
}

// neverStarts makes sure that a server that was not started never is; false means
// that it was not and there is nothing to stop.
func (s *Server) neverStarts() (running bool) {
	s.startOnce.Do(func() { s.startErr = ErrServerClosed })
	if s.startErr != nil {
		s.enter(PhaseStopped)
		return false
	}
	return true
}

// stop asks the loops to end: politely, within the window (draining), or at once
// (stopped).
func (s *Server) stop(why reason, window time.Duration) {
	s.mu.Lock()
	s.stopping.Store(true)
	if why == stopped && !s.halted {
		s.halted = true
		close(s.halt)
	}
	for l := range s.listeners { // the loops see to their own
		if n, ok := l.(*netAcceptor); ok {
			n.endSoon()
		}
	}
	s.mu.Unlock()
	for _, l := range s.loops {
		l.RequestStop(why, window)
	}
}
