package server_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestClosedInTheSameBatch has A's handler close B while B's message is ready in
// the same batch of events.
func TestClosedInTheSameBatch(t *testing.T) {
	s := newStaller()
	conns := make(chan *server.Conn, 4)
	var victim *server.Conn
	n, addr, _ := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = handler{
			open: func(c *server.Conn) { conns <- c },
			message: func(c *server.Conn, m ws.Message) {
				switch {
				case s.hold(m):
				case string(m.Payload) == "close the other":
					if err := victim.Close(ws.CodePolicy, "by another's handler"); err != nil {
						t.Errorf("Close: %v", err)
					}
				default:
					t.Errorf("Message %q of the closed connection", m.Payload)
				}
			},
		}
	})
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	a, b := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	for range 4 {
		victim = <-conns
	}
	s.stall(hold1, hold2)
	a.send(frame(opText, "close the other"))
	b.send(frame(opText, "too late"))
	close(s.release)
	b.expect(opClose, closePayload(1008, "by another's handler"))
	b.send(frame(opText, "ignored") + frame(opClose, closePayload(1008, "")))
	b.expectEOF()
}

// TestReusedNumberIsItsNewPeersAlone closes and opens connections under the same descriptor
// numbers, with stale events for the old ones under way: each peer sees its own
// messages and nothing else.
func TestReusedNumberIsItsNewPeersAlone(t *testing.T) {
	n, addr, _ := startSim(t, simnet.Config{MaxFDs: 5, StaleEvents: true}, nil)
	live := make([]*client, 3) // with the listener one descriptor is left: it is reused each time
	for i := range live {
		live[i] = dialSim(t, n, addr).upgraded()
	}
	reused := 0
	for round := range 500 {
		tag := fmt.Sprintf("round %d", round)
		c := dialSim(t, n, addr)
		c.send(upgradeRequest() + frame(opText, tag))
		for i, l := range live {
			l.send(frame(opText, fmt.Sprint(tag, i)))
		}
		c.expectSwitch()
		c.expect(opText, tag)
		fd := c.Conn.(*simnet.Conn).ServerFD()
		if round > 0 && fd != reused {
			t.Fatalf("descriptor %d after %d: the number was not reused", fd, reused)
		}
		reused = fd
		if round%2 == 0 {
			c.reset()
		} else {
			c.send(frame(opText, "unread") + frame(opClose, closePayload(1000, "")))
			c.expect(opText, "unread")
			c.expectClose(1000)
		}
		for i, l := range live {
			l.expect(opText, fmt.Sprint(tag, i))
		}
		eventually(t, "the descriptor is closed", func() bool { return n.OpenFDs() == 4 })
	}
}

// graveyard keeps the connections of the past and goes on sending to all.
type graveyard struct {
	mu    sync.Mutex
	conns []*server.Conn
}

func (g *graveyard) bury(c *server.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c)
}

// haunt sends each connection its tag until stop is closed.
func (g *graveyard) haunt(t *testing.T, stop chan struct{}) {
	for {
		g.mu.Lock()
		conns := g.conns
		g.mu.Unlock()
		for _, c := range conns {
			select {
			case <-stop:
				return
			default:
			}
			err := c.SendText("for " + c.Value().(string))
			if err != nil && !errors.Is(err, server.ErrClosed) && !errors.Is(err, server.ErrQueueFull) {
				t.Errorf("Send: %v", err)
			}
		}
	}
}

// TestWriteAfterClose sends all the time to all connections of the past: what is
// sent to a closed one is an error and never reaches who has its number now.
func TestWriteAfterClose(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		var g graveyard
		connect, _ := start(t, func(srv *server.Server) {
			srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
				return server.Accept{Value: r.Path()}, nil
			}
			srv.Handler = handler{
				open:    g.bury,
				message: func(c *server.Conn, m ws.Message) { _ = c.Close(ws.CodeNormal, "") },
			}
		})
		stop := make(chan struct{})
		var ghosts sync.WaitGroup
		for range 2 {
			ghosts.Go(func() { g.haunt(t, stop) })
		}
		for i := range fewer(t, partly(300)) {
			visitOnce(connect(), fmt.Sprintf("/%d", i))
		}
		close(stop)
		ghosts.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range g.conns {
			if c.SendText("") == nil && c.Ping(nil) == nil && c.Close(ws.CodeNormal, "") == nil {
				t.Fatal("a closed connection took something")
			}
		}
	})
}

// visitOnce opens a connection, has it closed, and checks whose messages come.
func visitOnce(c *client, path string) {
	c.send(strings.Replace(upgradeRequest(), "GET / ", "GET "+path+" ", 1))
	c.expectSwitch()
	c.send(frame(opText, "close me"))
	for {
		op, payload := c.frame()
		switch {
		case op == opClose:
			c.send(frame(opClose, payload))
			c.expectEOF()
			_ = c.Conn.Close() // before the end of the test: its number is to be reused
			return
		case payload != "for "+path:
			c.t.Fatalf("%s got %q", path, payload)
		}
	}
}
