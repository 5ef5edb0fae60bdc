package server_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// recorder is a Handler that echoes and tells what is called, in order.
type recorder struct {
	t      testing.TB
	events chan string
}

func newRecorder(t testing.TB) *recorder { return &recorder{t, make(chan string, 1000)} }

func (r *recorder) Open(*server.Conn) { r.events <- "open" }

func (r *recorder) Message(c *server.Conn, m ws.Message) {
	r.events <- fmt.Sprintf("%x %s", byte(m.Opcode), m.Payload)
	_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
}

func (r *recorder) Close(_ *server.Conn, err error) {
	var e *ws.CloseError
	if !errors.As(err, &e) {
		r.t.Errorf("Close with %v, want a *ws.CloseError", err)
		return
	}
	side := "ours"
	if e.Remote {
		side = "theirs"
	}
	r.events <- fmt.Sprintf("close %d %s", e.Code, side)
}

// expect reads the next events and compares them.
func (r *recorder) expect(want ...string) {
	r.t.Helper()
	for _, event := range want {
		select {
		case got := <-r.events:
			if got != event {
				r.t.Fatalf("event %q, want %q", got, event)
			}
		case <-time.After(patience):
			r.t.Fatalf("no event, want %q", event)
		}
	}
}

// expectNone says that nothing was called.
func (r *recorder) expectNone() {
	r.t.Helper()
	select {
	case got := <-r.events:
		r.t.Fatalf("event %q, want none", got)
	default:
	}
}
