package server_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestCloseFromOutsideASleepingLoop: the loop's clock stands still while the loop
// sleeps; the time for the closing handshake counts from Close all the same.
func TestCloseFromOutsideASleepingLoop(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{RealClock: true}, func(s *server.Server) {
		s.Handler = opened(conns)
		s.Timeouts.Close = 3 * time.Second
		s.Keepalive.Interval = time.Hour
	})
	c := dialSim(t, n, addr).upgraded()
	conn := <-conns
	time.Sleep(3500 * time.Millisecond) // simnet's own clock wakes the loop when it moves
	if err := conn.Close(ws.CodeNormal, "done"); err != nil {
		t.Fatal(err)
	}
	c.expect(opClose, closePayload(1000, "done"))
	idle(t, n)
	if open := srv.Stats().Open; open != 1 {
		t.Fatalf("%d connections open, want 1: the peer has 3 s to answer", open)
	}
	eventually(t, "the connection is freed at the deadline", func() bool { return srv.Stats().Open == 0 })
}

// opened is a handler that hands its connections to the test.
type opened chan *server.Conn

func (h opened) Open(c *server.Conn)              { h <- c }
func (h opened) Message(*server.Conn, ws.Message) {}
func (h opened) Close(*server.Conn, error)        {}
