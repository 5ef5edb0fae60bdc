package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// startRun runs a server on a port of its own, until stop.
func startRun(t *testing.T, configure func(*server.Server), o server.DrainOptions) (addr string, stop func(), srv *server.Server, over chan error) {
	srv, _ = prepare(t, systemEngine(t), configure)
	srv.Addr = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	over = make(chan error, 1)
	go func() { over <- srv.Run(ctx, o) }()
	t.Cleanup(func() { closeServer(t, srv) })
	eventually(t, "an address", func() bool { return srv.Ready() && len(srv.ListenAddrs()) == 1 })
	return srv.ListenAddrs()[0].String(), cancel, srv, over
}

// TestRun: when the context is done the connections are drained, and Run returns after
// the last, not before.
func TestRun(t *testing.T) {
	t.Parallel()
	addr, stop, _, over := startRun(t, nil, server.DrainOptions{Code: 1012, Reason: "back soon"})
	c := dial(t, addr).upgraded()
	stop()
	if op, payload := c.frame(); op != opClose || payload != closePayload(1012, "back soon") {
		t.Errorf("frame %x %q", op, payload)
	}
	select {
	case err := <-over:
		t.Fatalf("Run returned %v before its connection was closed", err)
	case <-time.After(20 * time.Millisecond): // only a chance to be wrong
	}
	c.send(frame(opClose, closePayload(1012, "")))
	c.expectEnd()
	if err := <-over; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRunCuts: who does not answer in the drain's time is cut, and Run says so.
func TestRunCuts(t *testing.T) {
	t.Parallel()
	addr, stop, _, over := startRun(t, nil, server.DrainOptions{Timeout: 50 * time.Millisecond})
	c := dial(t, addr).upgraded()
	stop()
	c.frame() // and no answer
	if err := <-over; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
}

// TestRunEnds: Run returns nil after a drain that somebody else began, and an error
// when it can not listen; with a context that is done from the beginning it serves
// nobody.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	addr, _, srv, over := startRun(t, nil, server.DrainOptions{})
	c := dial(t, addr).upgraded()
	go func() { _ = srv.Shutdown(context.Background()) }() // its result is Run's too
	c.expectClose(1001)
	if err := <-over; err != nil {
		t.Errorf("Run after Shutdown: %v", err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := &server.Server{Addr: ln.Addr().String(), Runtime: server.Runtime{Engine: systemEngine(t)}}
	if err := taken.Run(t.Context(), server.DrainOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Run on a port that is taken: %v", err)
	}
	_ = taken.Close()

	done, cancel := context.WithCancel(t.Context())
	cancel()
	idle := &server.Server{Addr: "127.0.0.1:0", Runtime: server.Runtime{Engine: systemEngine(t)}}
	if err := idle.Run(done, server.DrainOptions{}); err != nil {
		t.Errorf("Run with a context that is done: %v", err)
	}
}

// TestRunRefuses: options that can not be meant are refused before anything is served,
// and so is a server that is closed.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	srv := &server.Server{Addr: "127.0.0.1:0", Runtime: server.Runtime{Engine: systemEngine(t)}}
	for _, o := range []server.DrainOptions{
		{Code: 1006}, {Rate: -1}, {Timeout: -1}, {Delay: -1}, {Reason: strings.Repeat("r", 124)}, {Reason: "\xff"},
	} {
		if err := srv.Run(t.Context(), o); err == nil || errors.Is(err, server.ErrServerClosed) {
			t.Errorf("Run with %+v: %v", o, err)
		}
		if err := srv.Drain(t.Context(), o); err == nil {
			t.Errorf("Drain with %+v is taken", o)
		}
	}
	_ = srv.Close() // always nil
	if err := srv.Run(t.Context(), server.DrainOptions{}); !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

// TestRunTLS: with a TLSConfig Run speaks TLS.
func TestRunTLS(t *testing.T) {
	t.Parallel()
	addr, stop, _, over := startRun(t, func(s *server.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}
	}, server.DrainOptions{})
	c := dialTLS(t, addr).upgraded()
	stop()
	c.expectClose(1001)
	if err := <-over; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRunLeavesNothing: what Run has started ends with it, also if it could not serve.
func TestRunLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := runtime.NumGoroutine()
	srv := &server.Server{Handler: echo{}, Addr: taken.Addr().String()}
	if err := srv.Run(context.Background(), server.DrainOptions{}); err == nil {
		t.Fatal("it served")
	}
	for end := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines are left", n-before)
	}
}
