package server

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// defaultRunTimeout is how long Run's drain may take.
const defaultRunTimeout = 30 * time.Second

// Run is a server's whole life: it listens on Addr, with TLS if TLSConfig is set, and
// serves until ctx is done; then it drains as o says, and returns when that is over.
// An o.Timeout of 0 is 30 s here. It is what main calls:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	context.AfterFunc(ctx, stop) // a second signal ends the program at once
//	err := srv.Run(ctx, server.DrainOptions{})
//
// It returns nil when all connections have ended politely, also if somebody else has
// called Drain or Shutdown; context.DeadlineExceeded if the rest was cut; ErrServerClosed
// if it was closed before; or why the server could not serve. In any case it is closed
// then.
func (s *Server) Run(ctx context.Context, o DrainOptions) error {
	o.Timeout = cmp.Or(o.Timeout, defaultRunTimeout)
	if err := o.complete(); err != nil {
		return err
	}
	if s.phaseNow() != PhaseServing {
		return ErrServerClosed
	}
	defer func() { _ = s.Close() }() // nothing goes on behind it
	served := make(chan error, 1)
	go func() { served <- s.listenAndServe() }() // ends with the drain, at the latest
	select {
	case err := <-served:
		if !errors.Is(err, ErrServerClosed) {
			return err
		}
	case <-ctx.Done():
	}
	return s.Drain(context.WithoutCancel(ctx), o)
}

// listenAndServe listens as TLSConfig says.
func (s *Server) listenAndServe() error {
	if s.TLSConfig != nil {
		return s.ListenAndServeTLS("", "")
	}
	return s.ListenAndServe()
}
