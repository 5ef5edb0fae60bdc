package server_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// The tests of this file move simnet's clock: "Silent connection, half a request,
// one byte each 5 s => cut at the handshake deadline (default 10 s)".

const second = time.Second

// tickTime is the grain of deadlines: each is over by two of them after its time, and
// none before.
const tickTime = 100 * time.Millisecond

// silentStill fails the test if the server has said or ended anything.
func silentStill(t *testing.T, c *client) {
	t.Helper()
	if n, err := c.Conn.(*simnet.Conn).TryRead(make([]byte, 1)); !errors.Is(err, poller.ErrAgain) {
		t.Fatalf("read %d bytes, error %v, before the deadline", n, err)
	}
}

// pass moves the clock and lets the server notice.
func pass(t *testing.T, n *simnet.Network, d time.Duration) {
	t.Helper()
	idle(t, n)
	n.Advance(d)
	idle(t, n)
}

func TestHandshakeDeadline(t *testing.T) {
	t.Parallel()
	request := upgradeRequest()
	for _, test := range []struct {
		name    string
		timeout time.Duration // 0: the default
		first   string        // sent at once
		each5s  bool          // then a byte each 5 s
		status  int           // 0: closed without a word
	}{
		{name: "silent connection"},
		{name: "silent connection, 30 s configured", timeout: 30 * second},
		{name: "half a request", first: request[:40], status: 408},
		{name: "all but the last byte", first: request[:len(request)-1], status: 408},
		{name: "one byte each 5 s", first: request[:1], each5s: true, status: 408},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Timeouts.Handshake = test.timeout })
			deadline := max(test.timeout, 10*second)
			c := dialSim(t, n, addr)
			c.send(test.first)
			at := time.Duration(0)
			for ; at < deadline-5*second; at += 5 * second {
				pass(t, n, 5*second)
				if test.each5s {
					c.send(request[1+at/(5*second):][:1])
				}
			}
			pass(t, n, deadline-at-second/2)
			silentStill(t, c)
			pass(t, n, second)
			if test.status == 0 {
				c.expectEOF()
			} else {
				c.expectRefusal(test.status)
			}
			pass(t, n, 3*second) // the client does not close: cut all the same
			eventuallyOn(t, n, "no descriptor but the listener's", func() bool {
				return srv.Stats().Open == 0 && n.OpenFDs() == 1
			})
		})
	}
}

// TestHandshakeDeadlineSpares: an upgraded connection outlives the deadline.
func TestHandshakeDeadlineSpares(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, nil)
	c := dialSim(t, n, addr)
	pass(t, n, 9*second)
	c.upgraded()
	pass(t, n, 10*second)
	c.send(frame(opText, "still here"))
	c.expect(opText, "still here")
}

// TestTenThousandSilent: 10,000 silent connections are cut at the deadline while
// another is served.
func TestTenThousandSilent(t *testing.T) {
	t.Parallel()
	const crowd = 10_000
	n, addr, srv := startSim(t, simnet.Config{}, nil)
	served := dialSim(t, n, addr).upgraded()
	talk := func() {
		t.Helper()
		served.send(frame(opText, "alive"))
		served.expect(opText, "alive")
	}
	silent := make([]*simnet.Conn, crowd)
	for i := range silent {
		var err error
		if silent[i], err = n.Dial(addr); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 { // every other one begins a request
			if _, err := silent[i].Write([]byte("GET / HT")); err != nil {
				t.Fatal(err)
			}
		}
		if i%1000 == 0 {
			talk()
		}
	}
	pass(t, n, 9*second)
	talk()
	if open := srv.Stats().Open; open != crowd+1 {
		t.Fatalf("%d connections are open before the deadline, want %d", open, crowd+1)
	}
	pass(t, n, 2*second)
	talk()
	for i, c := range silent {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != i%2 || n == 0 && !errors.Is(err, io.EOF) {
			t.Fatalf("connection %d is not cut: %d bytes, %v", i, n, err)
		}
	}
	pass(t, n, 3*second)
	talk()
	eventuallyOn(t, n, "the crowd to be gone", func() bool { return srv.Stats().Open == 1 })
	talk()
}
