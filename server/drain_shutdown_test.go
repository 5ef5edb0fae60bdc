package server_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestStopInTheMidst stops a server while connections come, go, talk, fill their
// queues and block their handlers: the harness sees that each descriptor is
// closed and each Close called once.
func TestStopInTheMidst(t *testing.T) {
	stops := map[string]func(*server.Server){
		"Close": func(srv *server.Server) { _ = srv.Close() }, // always nil
		"Shutdown": func(srv *server.Server) {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_ = srv.Shutdown(ctx) // or its time is over: both may be
		},
		"both at once": func(srv *server.Server) {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { _ = srv.Close() })
				all.Go(func() { _ = srv.Shutdown(context.Background()) })
			}
			all.Wait()
		},
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			for round := range scaled(20) {
				testStop(t, uint64(round), stop)
			}
		})
	}
}

func testStop(t *testing.T, seed uint64, stop func(*server.Server)) {
	config := simnet.Config{Script: simnet.Chop(seed), SendBuffer: 5000, StaleEvents: true}
	var handled atomic.Int64
	s := newStaller()
	s.held = make(chan struct{}, 1<<20) // nobody waits for them
	n, addr, srv := startSim(t, config, func(srv *server.Server) {
		srv.Runtime.Loops = 3
		srv.HTTP = http.NotFoundHandler()
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			handled.Add(1)
			s.hold(m)
			_ = c.Send(m.Opcode, m.Payload) // closing: as it should
		})
	})
	stopped := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { comeAndGo(n, addr, stopped) })
	}
	for handled.Load() < 50 {
		time.Sleep(100 * time.Microsecond)
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		close(s.release) // the blocked handlers return while the server stops
	}()
	stop(srv)
	close(stopped)
	n.Advance(time.Minute) // what is still closing is overdue
	clients.Wait()
}

// comeAndGo opens connections and leaves them as they are, until stopped.
func comeAndGo(n *simnet.Network, addr string, stopped chan struct{}) {
	var conns []*simnet.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close() // its server may have
		}
	}()
	for i := 0; ; i++ {
		select {
		case <-stopped:
			return
		default:
		}
		c, err := n.Dial(addr)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		text := upgradeRequest() + frame(opText, pattern(i, 3000)) + frame(opText, "x")
		switch i % 10 {
		case 1:
			text = text[:100]
		case 2:
			text += frame(opText, "hold")
		case 3:
			text += frame(opClose, "")
		case 4:
			text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		}
		_, _ = c.TryWrite([]byte(text)) // as much as is taken
		if conns = append(conns, c); len(conns) > 30 {
			_ = conns[0].Close()
			conns = conns[1:]
		}
	}
}

// TestShutdownPolitely tells each peer 1001, waits for its answer, and finishes
// what is under way in net/http.
func TestShutdownPolitely(t *testing.T) {
	onBoth(t, func(t *testing.T, start starter) {
		causes := make(chan *ws.CloseError, 3)
		connect, srv := start(t, func(srv *server.Server) { srv.Handler = handler{close: closeCause(causes)} })
		clients := []*client{connect().upgraded(), connect().upgraded(), connect().upgraded()}
		half := connect()
		half.send("GET / HT")
		eventually(t, "all to be read", func() bool {
			return srv.Stats().BytesIn == uint64(len(clients)*len(upgradeRequest())+len("GET / HT"))
		})
		done := make(chan error, 2)
		for range 2 { // twice is as good as once
			go func() { done <- srv.Shutdown(t.Context()) }()
		}
		for _, c := range clients {
			c.expect(opClose, closePayload(1001, "server shutting down"))
			c.send(frame(opClose, closePayload(1001, "")))
			c.expectEOF()
		}
		half.expectRefusal(http.StatusServiceUnavailable)
		_ = half.Close() // what it would still say is not waited for
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
		for range clients {
			if cause := <-causes; cause.Code != ws.CodeGoingAway {
				t.Errorf("closed with %v, want 1001", cause)
			}
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown once more: %v", err)
		}
	})
}

// TestShutdownOverdue closes all at once when the context is over, a request under
// way in net/http included.
func TestShutdownOverdue(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.HTTP = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(started)
			<-release
		})
	})
	web := dialSim(t, n, addr)
	web.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want the context's error", err)
	}
	web.expectEnd()
	close(release)
}
