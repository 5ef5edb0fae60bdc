package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// slowHook is an Upgrade hook that holds requests for "/slow".
type slowHook struct {
	held    chan context.Context // of each request that is held
	release chan struct{}        // closed: they go on
}

func newSlowHook() *slowHook {
	return &slowHook{held: make(chan context.Context, 100), release: make(chan struct{})}
}

func (h *slowHook) upgrade(r *ws.Request) (server.Accept, error) {
	if r.Path() != "/slow" {
		return server.Accept{}, nil
	}
	h.held <- r.Context()
	select {
	case <-h.release:
		return server.Accept{}, nil
	case <-r.Context().Done():
		return server.Accept{}, r.Context().Err()
	}
}

// TestSlowHooks: hooks that block hold half of the workers, the others serve on, and
// upgrades beyond them wait: each has its turn, with what was sent behind it.
func TestSlowHooks(t *testing.T) {
	for name, start := range map[string]starter{
		"simnet": onSimnet, "sockets": onSockets, "TLS on simnet": onTLSSimnet, "TLS on sockets": onTLSSockets,
	} {
		t.Run(name, func(t *testing.T) {
			h := newSlowHook()
			connect, srv := start(t, func(s *server.Server) {
				s.Runtime.Loops, s.Runtime.Workers, s.Upgrade = 2, 8, h.upgrade
			})
			open := connect().upgraded()
			late := make([]*client, 20)
			for i := range late {
				late[i] = connect()
				late[i].send(upgradeTo("/slow") + frame(opText, "behind"))
			}
			for range 4 {
				<-h.held
			}
			for range 10 {
				open.send(frame(opText, "a"))
				open.expect(opText, "a")
			}
			if held := srv.Stats().Workers.Held; held > 4 {
				t.Errorf("%d workers are held by hooks", held)
			}
			close(h.release)
			for _, c := range late {
				c.expectSwitch()
				c.expect(opText, "behind")
				c.send(frame(opText, "after"))
				c.expect(opText, "after")
			}
		})
	}
}

// TestWaitingForHooks: who waits gets 503 when the handshake's time is over, or when the
// server drains; who goes meanwhile frees the place in the line.
func TestWaitingForHooks(t *testing.T) {
	t.Parallel()
	h := newSlowHook()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Runtime.Loops, s.Runtime.Workers, s.Upgrade = 1, 2, func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/slow" {
				h.held <- nil
				<-h.release
			}
			return server.Accept{}, nil
		}
	})
	first := dialSim(t, n, addr)
	first.send(upgradeTo("/slow"))
	<-h.held
	gone, late := dialSim(t, n, addr), dialSim(t, n, addr)
	gone.send(upgradeTo("/"))
	late.send(upgradeTo("/"))
	eventually(t, "three handshakes", func() bool { return srv.Stats().States.Handshake == 3 })
	_ = gone.Close()
	eventuallyOn(t, n, "two handshakes", func() bool { return srv.Stats().States.Handshake == 2 })
	for range 110 { // in steps, as the slow turn may not have left its loop yet
		n.Advance(100 * time.Millisecond)
	}
	response, _ := late.response()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("%d, %v", response.StatusCode, response.Header)
	}
	hits(t, srv, server.LimitHandshakeTimeout, 1)
	close(h.release)
	first.expectSwitch()
	after := dialSim(t, n, addr).upgraded() // the places are free again
	after.send(frame(opText, "a"))
	after.expect(opText, "a")
}

// ended waits for a context's end, and gives its cause.
func ended(t *testing.T, ctx context.Context) string {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx).Error()
	case <-time.After(patience):
		t.Fatal("the context goes on")
		return ""
	}
}

// TestHookContext: a slow hook's context ends when the peer is gone, when its time is
// over, when the server stops, and with the hook.
func TestHookContext(t *testing.T) {
	for name, start := range map[string]starter{
		"simnet": onSimnet, "sockets": onSockets, "TLS on sockets": onTLSSockets, "mounted": onMounted(startBridge),
	} {
		t.Run(name, func(t *testing.T) {
			h := newSlowHook()
			connect, srv := start(t, func(s *server.Server) { s.Upgrade = h.upgrade })
			c := connect()
			c.send(upgradeTo("/slow"))
			ctx := <-h.held
			_ = c.Close()
			ended(t, ctx)
			c = connect()
			c.send(upgradeTo("/slow"))
			ctx = <-h.held
			close(h.release)
			c.expectSwitch()
			if name != "mounted" { // where it is net/http's
				ended(t, ctx)
			}
			eventually(t, "no handshake", func() bool { return srv.Stats().States.Handshake == 0 })
		})
	}
	t.Run("timeout", func(t *testing.T) {
		h := newSlowHook()
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Upgrade = h.upgrade })
		c := dialSim(t, n, addr)
		c.send(upgradeTo("/slow"))
		ctx := <-h.held
		eventuallyOn(t, n, "the end of the context", func() bool { return ctx.Err() != nil })
		if got := ended(t, ctx); !strings.Contains(got, "handshake timeout") {
			t.Errorf("cause %q", got)
		}
		if response, _ := c.response(); response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d", response.StatusCode)
		}
		hits(t, srv, server.LimitHandshakeTimeout, 1)
	})
	t.Run("stop", func(t *testing.T) {
		h := newSlowHook()
		connect, srv := onSimnet(t, func(s *server.Server) { s.Upgrade = h.upgrade })
		connect().send(upgradeTo("/slow"))
		ctx := <-h.held
		go func() { _ = srv.Close() }() // always nil
		if got := ended(t, ctx); !strings.Contains(got, "server stopped") {
			t.Errorf("cause %q", got)
		}
	})
}

// TestHookCause: the cause of its context's end is as good an error for a hook as the
// context's own.
func TestHookCause(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			ctx := r.Context()
			<-ctx.Done()
			return server.Accept{}, fmt.Errorf("asking: %w", context.Cause(ctx))
		}
	})
	c := dialSim(t, n, addr)
	c.send(upgradeTo("/"))
	eventuallyOn(t, n, "the answer", func() bool { return srv.Stats().Refused == 1 })
	c.expectRefusal(503)
	hits(t, srv, server.LimitHandshakeTimeout, 1)
}

// TestHookPlaces: places are given back by hooks that refuse, panic and end their
// goroutine.
func TestHookPlaces(t *testing.T) {
	t.Parallel()
	connect, srv := onSimnet(t, func(s *server.Server) {
		s.Runtime.Loops, s.Runtime.Workers = 1, 2
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			switch r.Path() {
			case "/refuse":
				return server.Accept{}, errors.New("no")
			case "/panic":
				panic("no")
			case "/exit":
				runtime.Goexit()
			}
			return server.Accept{}, nil
		}
	})
	for range 3 {
		for _, path := range []string{"/refuse", "/panic", "/exit"} {
			c := connect()
			c.send(upgradeTo(path))
			if response, _ := c.response(); response.StatusCode != http.StatusInternalServerError {
				t.Errorf("%s: status %d", path, response.StatusCode)
			}
		}
		connect().upgraded()
	}
	eventually(t, "three open connections", func() bool { return srv.Stats().States.Open == 3 })
}
