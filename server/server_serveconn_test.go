package server_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// pairs are two ends of a connection: the first is the server's.
var pairs = map[string]func(t *testing.T) (near, far net.Conn){
	"TCP": func(t *testing.T) (near, far net.Conn) {
		ln := listenTCP(t)
		far, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if near, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
		_ = ln.Close() // its error is that of an end
		return near, far
	},
	"pipe": func(*testing.T) (near, far net.Conn) { return net.Pipe() },
}

// TestServeConn: one connection that somebody else has accepted.
func TestServeConn(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, _ := prepare(t, systemEngine(t), func(srv *server.Server) { srv.Limits.Handshakes = 1; plainHTTP(srv) })
			t.Cleanup(func() { closeServer(t, srv) })
			near, far := pair(t)
			if err := srv.ServeConn(near); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, far)
			go c.send(get("/") + upgradeRequest() + frame(opText, "behind"))
			c.expectPlain("GET / ")
			c.expectSwitch()
			c.expect(opText, "behind")

			silent, silentFar := pair(t)
			if err := srv.ServeConn(silent); err != nil {
				t.Error(err)
			}
			eventually(t, "it is there", func() bool { return srv.Stats().States.Handshake == 1 })
			many, far := pair(t)
			var refusal *ws.Refusal
			if err := srv.ServeConn(many); !errors.As(err, &refusal) || refusal.Status != 503 {
				t.Errorf("ServeConn: %v, want a refusal with 503", err)
			}
			newClient(t, far).expectRefusal(503)
			_, _ = silentFar.Close(), far.Close()

			if srv.Ready() {
				t.Error("Ready without a listener")
			}
			closeServer(t, srv)
			late, far := pair(t)
			if err := srv.ServeConn(late); !errors.Is(err, server.ErrServerClosed) {
				t.Errorf("ServeConn: %v, want ErrServerClosed", err)
			}
			if _, err := far.Read(make([]byte, 1)); err == nil {
				t.Error("it is served")
			}
		})
	}
}

// TestServeConnOnSimnet: a network in memory has connections of its own.
func TestServeConnOnSimnet(t *testing.T) {
	t.Parallel()
	n := simnet.New(simnet.Config{})
	srv, _ := prepare(t, n, nil)
	t.Cleanup(func() { closeServer(t, srv) })
	ln, err := n.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := dialSim(t, n, ln.Addr().String())
	fd, _, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := n.Detach(fd)
	if err := errors.Join(err, srv.ServeConn(conn), ln.Close()); err != nil {
		t.Fatal(err)
	}
	c.upgraded()
	if s := srv.Stats(); s.Bridged != 0 {
		t.Errorf("%d are bridged", s.Bridged)
	}
}

// TestServeConnWhileClosing: whoever comes while the server stops is closed.
func TestServeConnWhileClosing(t *testing.T) {
	t.Parallel()
	for range 20 {
		srv, l := prepare(t, systemEngine(t), nil)
		var all sync.WaitGroup
		for range 10 {
			near, far := net.Pipe()
			all.Go(func() {
				c := newClient(t, far)
				if srv.ServeConn(near) == nil {
					_, _ = c.Write([]byte(upgradeRequest()))
				}
				for _, err := c.Read(make([]byte, 100)); err == nil; _, err = c.Read(make([]byte, 100)) {
				}
			})
		}
		closeServer(t, srv)
		all.Wait()
		eventually(t, "a Close for every Open", l.balanced)
	}
}

// TestGuestLeavesItsHook: the hook of a connection that goroutines carry hears that its
// peer is gone, whether it runs or waits for a place.
func TestGuestLeavesItsHook(t *testing.T) {
	t.Parallel()
	h := newSlowHook()
	connect, srv := onWrapped(t, func(s *server.Server) {
		s.Runtime.Loops, s.Runtime.Workers, s.Upgrade = 1, 3, h.upgrade // one place
	})
	first := connect()
	first.send(upgradeTo("/slow"))
	ctx := <-h.held
	second := connect()
	second.send(upgradeTo("/slow"))
	eventually(t, "it waits", func() bool { return srv.Stats().States.Handshake == 2 && srv.Stats().Handovers > 0 })
	_ = second.Close()
	eventually(t, "it is gone", func() bool { return srv.Stats().Open == 1 })
	_ = first.Close()
	<-ctx.Done()
	if err := context.Cause(ctx); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the cause is %v", err)
	}
	eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
}
