package server_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestServeAfterStop closes the listener it is given and returns ErrServerClosed
// itself, whether the server had started or not.
func TestServeAfterStop(t *testing.T) {
	for _, started := range []bool{false, true} {
		n := simnet.New(simnet.Config{})
		srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: n}}
		ln, err := n.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if started {
			srv.Stats() // starts the loops
		}
		if err := errors.Join(srv.Close(), srv.Shutdown(t.Context()), srv.Close()); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if err := srv.Serve(ln); err != server.ErrServerClosed {
			t.Errorf("Serve: %v, want ErrServerClosed", err)
		}
		if err := srv.ListenAndServe(); err != server.ErrServerClosed {
			t.Errorf("ListenAndServe: %v, want ErrServerClosed", err)
		}
		if n.OpenFDs() != 0 || len(n.Violations()) > 0 {
			t.Errorf("%d descriptors are open, violations: %v", n.OpenFDs(), n.Violations())
		}
	}
}

// TestServeAgainstStop calls Serve while the server stops: it always returns.
func TestServeAgainstStop(t *testing.T) {
	for range scaled(500) {
		n := simnet.New(simnet.Config{})
		srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: n, Loops: 2}}
		ln, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-served:
			if err != server.ErrServerClosed {
				t.Fatalf("Serve: %v, want ErrServerClosed", err)
			}
		case <-time.After(patience):
			t.Fatal("Serve did not return")
		}
		eventually(t, "no open descriptor", func() bool { return n.OpenFDs() == 0 })
	}
}

// TestTwoListeners serves two addresses at once.
func TestTwoListeners(t *testing.T) {
	addr, srv := startServer(t, nil)
	second, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(second) }()
	eventually(t, "both are served", func() bool { return len(srv.ListenAddrs()) == 2 })
	for _, to := range []string{addr, second.Addr().String(), addr} {
		c := dial(t, to).upgraded()
		c.send(frame(opText, "served"))
		c.expect(opText, "served")
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != server.ErrServerClosed {
		t.Errorf("Serve: %v, want ErrServerClosed", err)
	}
	if conn, err := net.Dial("tcp", second.Addr().String()); err == nil {
		_, err = io.Copy(io.Discard, conn)
		t.Errorf("a stopped server accepts: %v", err)
	}
}

// unwatchable is an engine whose pollers are full.
type unwatchable struct{ poller.Engine }

type fullPoller struct{ poller.Poller }

func (e unwatchable) NewPoller() (poller.Poller, error) {
	p, err := e.Engine.NewPoller()
	return fullPoller{p}, err
}

func (fullPoller) Add(int, poller.Token) error { return syscall.ENOSPC }

// TestServeUnwatchable says why it does not serve.
func TestServeUnwatchable(t *testing.T) {
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: unwatchable{simnet.New(simnet.Config{})}, Loops: 1}}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(ln); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Serve: %v, want ENOSPC", err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}
