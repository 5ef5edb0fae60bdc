package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// holdOrEcho blocks for "hold" and echoes all.
func holdOrEcho(s *staller) server.Handler {
	return onlyMessage(func(c *server.Conn, m ws.Message) {
		s.hold(m)
		_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
	})
}

// TestBlockedHandler blocks a handler: all others go on, on the same loop, and its
// own next messages come afterwards and in order.
func TestBlockedHandler(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		s := newStaller()
		connect, srv := start(t, func(srv *server.Server) {
			srv.Runtime.Loops = 1
			srv.Handler = holdOrEcho(s)
		})
		const held = 10
		blocked, others := make([]*client, held), make([]*client, 50)
		for i := range blocked {
			blocked[i] = connect().upgraded()
			blocked[i].send(frame(opText, "before") + frame(opText, "hold") + frame(opText, "next 0"))
			<-s.held
			blocked[i].expect(opText, "before") // flushed when the handler is found to block
			blocked[i].send(frame(opText, "next 1"))
		}
		for i := range others {
			others[i] = connect().upgraded()
		}
		for round := range 10 {
			for i, c := range others {
				c.send(frame(opText, fmt.Sprint(round, i)))
			}
			for i, c := range others {
				c.expect(opText, fmt.Sprint(round, i))
			}
		}
		close(s.release)
		for _, c := range blocked {
			c.expect(opText, "hold")
			c.expect(opText, "next 0")
			c.expect(opText, "next 1")
			c.send(frame(opClose, ""))
			c.expectClose(1005)
		}
		if got := srv.Stats().Handovers; got < held {
			t.Errorf("%d hand-overs for %d blocked handlers", got, held)
		}
	})
}

// TestEndsInASlowTurn has connections end while their handlers block, in Message
// and in Close: nothing of them is left.
func TestEndsInASlowTurn(t *testing.T) {
	for _, end := range []string{"the peer closes", "the peer resets", "the handler closes", "in Close"} {
		s := newStaller()
		n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
			srv.Runtime.Loops = 1
			srv.Handler = handler{message: func(c *server.Conn, m ws.Message) {
				if s.hold(m); end == "the handler closes" {
					_ = c.Close(ws.CodeNormal, "") // its peer is reset below
				}
			}, close: func(*server.Conn, error) {
				if end == "in Close" {
					s.hold(ws.Message{Payload: []byte("hold")})
				}
			}}
		})
		c := dialSim(t, n, addr).upgraded()
		if end == "in Close" {
			c.send(frame(opClose, closePayload(1000, "")))
		} else {
			c.send(frame(opText, "hold"))
		}
		<-s.held
		eventually(t, "a hand-over", func() bool { return srv.Stats().Handovers == 1 })
		switch end {
		case "the peer closes":
			c.send(frame(opClose, closePayload(1000, "")))
		case "the peer resets", "the handler closes":
			c.reset()
		}
		close(s.release)
		eventually(t, end+": the descriptor is closed", func() bool { return n.OpenFDs() == 1 })
		if open := srv.Stats().Open; open != 0 {
			t.Errorf("%s: %d connections open", end, open)
		}
	}
}

// TestAllWorkersBlocked blocks all workers there may be: the loop waits, what is
// net/http's goes on, it is logged once with the stack of a handler, and all goes
// on when one returns.
func TestAllWorkersBlocked(t *testing.T) {
	s, book := newStaller(), &logBook{}
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Logger = book.logger()
		srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "healthy") // the test sees
		})
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) { holdAllWorkers(s, c, m) })
	})
	web := &http.Client{Transport: &http.Transport{DialContext: n.DialContext, MaxConnsPerHost: 1}, Timeout: patience}
	t.Cleanup(web.CloseIdleConnections)
	expectHealthy(t, web, addr)
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	waiting := dialSim(t, n, addr).upgraded()
	s.stall(hold1, hold2)
	waiting.send(frame(opText, "patient"))
	eventually(t, "the shortage is counted", func() bool { return srv.Stats().Waits > 5 })
	expectHealthy(t, web, addr)
	if waiting.Conn.(*simnet.Conn).Unread() == 0 {
		t.Error("a message was read with all workers blocked")
	}
	if got := book.count("all workers held by slow handlers"); got != 1 {
		t.Errorf("logged %d times, want once", got)
	}
	if book.count("holdAllWorkers") == 0 {
		t.Error("logged without the stack of a handler")
	}
	close(s.release)
	waiting.expect(opText, "patient")
	hold1.expect(opText, "hold")
	hold2.expect(opText, "hold")
}

func holdAllWorkers(s *staller, c *server.Conn, m ws.Message) {
	s.hold(m)
	_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
}

func expectHealthy(t *testing.T, web *http.Client, addr string) {
	t.Helper()
	resp, err := web.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "healthy" {
		t.Fatalf("%q, %v, want healthy", body, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFewWorkers: whatever Runtime.Workers says, there is one for each loop, also when
// there is a loop for each processor.
func TestFewWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	onAll(t, func(t *testing.T, start starter) {
		connect, _ := start(t, func(srv *server.Server) {
			srv.Runtime.Workers = 1
		})
		for range 16 {
			c := connect().upgraded()
			c.send(frame(opText, "served"))
			c.expect(opText, "served")
		}
	})
}

// TestSlowSender sends from a handler that goes on for long: the queue is written
// meanwhile.
func TestSlowSender(t *testing.T) {
	n, addr, _ := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Runtime.Loops = 1
		srv.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) {
			for range 50 {
				_ = c.SendText(strings.Repeat("x", 5000)) // the peer misses it
				for c.Buffered() > 0 {
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	})
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "go"))
	for range 50 {
		c.expect(opText, strings.Repeat("x", 5000))
	}
}

// TestPongWaitsInASlowTurn: who answered our ping while the server had no time to
// read it is not taken for dead.
func TestPongWaitsInASlowTurn(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000}, func(srv *server.Server) {
		srv.Runtime.Loops = 1
		srv.Handler = slowDrained{handler{open: func(c *server.Conn) { conns <- c }}, s}
	})
	c := dialSim(t, n, addr).upgraded()
	pass(t, n, 31*time.Second)
	c.expect(opPing, "")
	if err := (<-conns).SendText(strings.Repeat("x", 1500)); err != nil {
		t.Fatal(err)
	}
	c.expect(opText, strings.Repeat("x", 1500))
	<-s.held
	eventually(t, "a hand-over", func() bool { return srv.Stats().Handovers == 1 })
	c.send(frame(opPong, ""))
	n.Advance(60 * time.Second)
	idle(t, n)
	close(s.release)
	idle(t, n)
	if srv.Stats().Open != 1 {
		t.Error("the connection was closed")
	}
}

type slowDrained struct {
	handler
	s *staller
}

func (h slowDrained) Drained(*server.Conn) { h.s.hold(ws.Message{Payload: []byte("hold")}) }

// TestStopWhileHTTPArrives sends a plain request into a server that stops.
func TestStopWhileHTTPArrives(t *testing.T) {
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.HTTP = http.NotFoundHandler()
		srv.Handler = holdOrEcho(s)
	})
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	s.stall(hold1, hold2)
	for range 20 {
		dialSim(t, n, addr).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		done <- srv.Shutdown(ctx)
	}()
	time.Sleep(10 * time.Millisecond) // likelier to be in Shutdown when the requests are seen
	close(s.release)
	hold1.expect(opText, "hold")
	hold2.expect(opText, "hold")
	for _, c := range []*client{hold1, hold2} {
		c.expect(opClose, closePayload(1001, "server shutting down"))
		c.send(frame(opClose, closePayload(1001, "")))
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
