package server_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestMessageTooBig: a message that no queue could take leaves a trace, although its
// sender does not look at the error. What was sent before it still arrives.
func TestMessageTooBig(t *testing.T) {
	const most = 64 << 10
	send := func(c *server.Conn, size int) error { return c.SendBinary(make([]byte, size)) }
	prepared := func(c *server.Conn, size int) error { return c.SendPrepared(ws.Prepare(ws.Binary, make([]byte, size))) }
	for name, test := range map[string]struct {
		send   func(*server.Conn, int) error
		size   int
		policy server.QueuePolicy
	}{
		"Send":                       {send, most + 100, server.CloseWhenFull},
		"Send, large":                {send, 3 << 20, server.CloseWhenFull},
		"Send, DropNewest":           {send, most + 100, server.DropNewest},
		"SendPrepared":               {prepared, most + 100, server.CloseWhenFull},
		"SendPrepared, large":        {prepared, 3 << 20, server.CloseWhenFull},
		"SendPrepared, DropNewest":   {prepared, most + 100, server.DropNewest},
		"Send, large and DropNewest": {send, 3 << 20, server.DropNewest},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, start starter) {
				book, sent := &logBook{}, make(chan error, 1)
				connect, srv := start(t, func(s *server.Server) {
					s.Queue.Max, s.Queue.Policy = most, test.policy
					s.Logger = book.loggerAt(slog.LevelDebug)
					s.Handler = handler{open: func(c *server.Conn) {
						_ = c.SendText("before") // the client sees
						sent <- test.send(c, test.size)
						_ = c.SendText("behind") // likewise
					}}
				})
				c := connect().upgraded()
				c.expect(opText, "before")
				if test.policy == server.DropNewest {
					c.expect(opText, "behind")
				} else {
					c.expectClose(1009)
					if line := lastLine(t, book, "connection failed", 1); !strings.Contains(line, "code=1009") {
						t.Error(line)
					}
				}
				if err := <-sent; !errors.Is(err, server.ErrMessageTooBig) {
					t.Errorf("Send: %v, want ErrMessageTooBig", err)
				}
				hits(t, srv, server.LimitQueue, 1)
				if got := srv.Stats().Dropped; got != 1 {
					t.Errorf("%d dropped, want 1", got)
				}
			})
		})
	}
}
