package server_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// stuck is a listener whose Accept goes on after Close.
type stuck struct {
	net.Listener
	c chan struct{}
}

func (s stuck) Accept() (net.Conn, error) { <-s.c; return nil, net.ErrClosed }

// TestStuckListener: a drain does not wait for an Accept that outlasts its Close.
func TestStuckListener(t *testing.T) {
	srv, _ := prepare(t, systemEngine(t), nil)
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	s := stuck{ln, make(chan struct{})}
	go func() { _ = srv.ServeListener(s) }()
	eventually(t, "ready", srv.Ready)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	close(s.c)
}

// idleConn gives neither bytes nor an error.
type idleConn struct {
	net.Conn
	reads chan struct{}
}

func (c idleConn) Read([]byte) (int, error) {
	select {
	case c.reads <- struct{}{}:
	default:
	}
	runtime.Gosched()
	return 0, nil
}

// TestPROXYHeaderOfNothing: a connection that gives nothing, and no error, is not read for
// ever.
func TestPROXYHeaderOfNothing(t *testing.T) {
	_, srv := onSockets(t, func(s *server.Server) { s.Proxy.Protocol = true })
	here, there := net.Pipe()
	defer here.Close()
	c := idleConn{there, make(chan struct{}, 100000)}
	_ = srv.ServeConn(c)
	time.Sleep(300 * time.Millisecond)
	if n := len(c.reads); n > 1000 {
		t.Errorf("%d reads", n)
	}
}
