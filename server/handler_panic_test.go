package server_test

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// failing is a handler that fails in one of its methods, for connections whose
// value is the method's name.
type failing struct{ fail func() }

func (f failing) at(c *server.Conn, method string) {
	if c.Value() == method {
		f.fail()
	}
}

func (f failing) Open(c *server.Conn) { f.at(c, "Open") }
func (f failing) Message(c *server.Conn, m ws.Message) {
	f.at(c, "Message")
	_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
}
func (f failing) Close(c *server.Conn, _ error) { f.at(c, "Close") }
func (f failing) Ping(c *server.Conn, _ []byte) { f.at(c, "Ping") }
func (f failing) Pong(c *server.Conn, _ []byte) { f.at(c, "Pong") }
func (f failing) Drained(c *server.Conn)        { f.at(c, "Drained") }
func (f failing) upgrade(r *ws.Request) (server.Accept, error) {
	if r.Path() == "/Upgrade" {
		f.fail()
	}
	return server.Accept{Value: r.Path()[1:]}, nil
}

// failedAt is how the log names the line in this file that has failed.
var failedAt = regexp.MustCompile(` at="[^" ]*server_test\.\S+ \S+/handler_panic_test\.go:\d+" remote=`)

// failures are the ways in which a handler ends without returning.
var failures = map[string]func(){
	"panic":     func() { panic("the handler's own fault") },
	"panic nil": func() { panic(nil) }, // what a careless handler may do
	"Goexit":    runtime.Goexit,
}

// TestFailingHandler has each method of a handler fail: its connection gets 1011,
// it is logged with the stack and counted, and nobody else notices.
func TestFailingHandler(t *testing.T) {
	for name, fail := range failures {
		for _, method := range []string{"Open", "Message", "Ping", "Pong", "Drained", "Close", "Upgrade"} {
			t.Run(name+" in "+method, func(t *testing.T) {
				testFailing(t, fail, method)
			})
		}
	}
}

func testFailing(t *testing.T, fail func(), method string) {
	book := &logBook{}
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 2000}, func(srv *server.Server) {
		srv.Runtime.Loops = 1
		srv.Logger = book.logger()
		f := failing{fail}
		srv.Handler = f
		srv.Upgrade = f.upgrade
	})
	other := dialSim(t, n, addr).upgraded()
	const times = 20 // more than workers are kept on standby
	for i := range times {
		c := dialSim(t, n, addr)
		c.send(strings.Replace(upgradeRequest(), "GET / ", "GET /"+method+" ", 1))
		provoke(c, method)
		_ = c.Conn.Close()
		other.send(frame(opText, fmt.Sprint(i)))
		other.expect(opText, fmt.Sprint(i))
	}
	idle(t, n)
	eventually(t, "no slow turn", func() bool { return srv.Stats().Workers.Held == 0 })
	if got := srv.Stats(); got.Panics != times || got.Open != 1 {
		t.Errorf("%+v, want %d panics and one open", got, times)
	}
	if got := book.count("handler panicked"); got != times {
		t.Errorf("%d panics were logged, want %d", got, times)
	}
	if book.count("testFailing") == 0 && book.count("failing") == 0 {
		t.Error("logged without the handler's stack")
	}
	if got := failedAt.FindAllString(book.String(), -1); len(got) != times {
		t.Errorf("%d times the log names the line that has failed, want %d", len(got), times)
	}
}

// provoke makes the method fail, and reads what the peer is to see of it.
func provoke(c *client, method string) {
	c.t.Helper()
	if method == "Upgrade" {
		c.expectRefusal(500)
		return
	}
	c.expectSwitch()
	switch method {
	case "Message":
		c.send(frame(opText, "m") + frame(opText, "not handled"))
	case "Ping":
		c.send(frame(opPing, "p"))
		c.expect(opPong, "p")
	case "Pong":
		c.send(frame(opPong, ""))
	case "Drained":
		c.send(frame(opText, pattern(1, 5000)))
		c.expect(opText, pattern(1, 5000))
	case "Close":
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectClose(1000)
		return
	}
	c.expectClose(1011)
}

// TestFailingSlowly fails in a handler that has lost its loop.
func TestFailingSlowly(t *testing.T) {
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			s := newStaller()
			n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
				srv.Runtime.Loops = 1
				srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
					_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
					if s.hold(m) {
						fail()
					}
				})
			})
			c, other := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
			c.send(frame(opText, "hold") + frame(opText, "not handled"))
			<-s.held
			eventually(t, "a hand-over", func() bool { return srv.Stats().Handovers > 0 })
			close(s.release)
			c.expect(opText, "hold")
			c.expectClose(1011)
			_ = c.Conn.Close()
			other.send(frame(opText, "and on"))
			other.expect(opText, "and on")
			eventually(t, "one is open", func() bool { return srv.Stats().Open == 1 })
		})
	}
}

// TestPanicInCloseToo: Close, which is due after a panic in Message, panics, too.
func TestPanicInCloseToo(t *testing.T) {
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Handler = handler{
			message: func(*server.Conn, ws.Message) { panic("first") },
			close:   func(*server.Conn, error) { panic("second") },
		}
	})
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "m"))
	c.expectClose(1011)
	_ = c.Conn.Close()
	idle(t, n)
	if got := srv.Stats(); got.Panics != 2 || got.Open != 0 {
		t.Errorf("%+v, want 2 panics and none open", got)
	}
}
