package server_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestConnID: an id is a connection's from Open on and after its end, the one that
// Conns gives and CloseConn takes, and no other's, whichever server it is of.
func TestConnID(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		opened, closed := make(chan server.ConnID, 1), make(chan server.ConnID, 1)
		var last *server.Conn
		connect, srv := start(t, func(s *server.Server) {
			s.Handler = handler{
				open:  func(c *server.Conn) { opened <- c.ID() },
				close: func(c *server.Conn, _ error) { last = c; closed <- c.ID() },
			}
		})
		seen := map[server.ConnID]bool{}
		for range 3 {
			c := connect().upgraded()
			id := <-opened
			if seen[id] {
				t.Errorf("the id %v comes again", id)
			}
			seen[id] = true
			if info := conns(t, srv, server.ByAge, 10); !slices.ContainsFunc(info, func(i server.ConnInfo) bool { return i.ID == id }) {
				t.Errorf("Conns does not give the id %v", id)
			}
			if err := srv.CloseConn(t.Context(), id, ws.CodeNormal, ""); err != nil {
				t.Error(err)
			}
			c.expectClose(1000)
			if got := <-closed; got != id {
				t.Errorf("the id is %v in Close, was %v in Open", got, id)
			}
			eventually(t, "the end", func() bool { return len(conns(t, srv, server.ByAge, 10)) == 0 })
			if got := last.ID(); got != id {
				t.Errorf("the id is %v after the end, was %v", got, id)
			}
		}
	})
}

// TestEach: each open connection is given once, on all loops; those that are no
// WebSocket are not.
func TestEach(t *testing.T) {
	t.Parallel()
	const many = 5000 // more than a loop looks at in one go
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Runtime.Loops = 2 })
	for range many {
		dialSim(t, n, addr).upgraded()
	}
	dialSim(t, n, addr)
	seen := map[server.ConnID]int{}
	if err := srv.Each(t.Context(), func(c *server.Conn) bool {
		seen[c.ID()]++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != many {
		t.Errorf("%d connections, want %d", len(seen), many)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%v came %d times", id, times)
		}
	}
	count := 0
	if err := srv.Each(t.Context(), func(*server.Conn) bool { count++; return count < 10 }); err != nil || count != 10 {
		t.Errorf("%d connections after false at the tenth, %v", count, err)
	}
}

// TestEachFromAHandler: a handler may call Each, though its own loop is asked too, and
// close all there are.
func TestEachFromAHandler(t *testing.T) {
	onBoth(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			s.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) {
				if err := c.Server().Each(context.Background(), func(other *server.Conn) bool {
					_ = other.Close(4000, "all out") // open, or closing already
					return true
				}); err != nil {
					t.Error(err)
				}
			})
		})
		clients := make([]*client, 20)
		for i := range clients {
			clients[i] = connect().upgraded()
		}
		eventually(t, "all are open", func() bool { return srv.Stats().States.Open == int64(len(clients)) })
		clients[0].send(frame(opText, "all out"))
		for _, c := range clients {
			c.expectClose(4000)
		}
	})
}

// TestEachEnds: Each returns when its context is done, though a loop waits for its
// handlers, and at once before the start and after the end.
func TestEachEnds(t *testing.T) {
	t.Parallel()
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = holdOrEcho(s)
	})
	s.stall(dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded())
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error)
	go func() { returned <- srv.Each(ctx, func(*server.Conn) bool { return true }) }()
	cancel()
	if err := <-returned; !errors.Is(err, context.Canceled) {
		t.Errorf("Each: %v", err)
	}
	close(s.release)
	_ = srv.Close()
	for _, srv := range []*server.Server{srv, {}} {
		if err := srv.Each(t.Context(), func(*server.Conn) bool { t.Error("a connection"); return false }); err != nil {
			t.Error(err)
		}
	}
}
