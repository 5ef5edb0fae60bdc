package servertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// TestInBubble: in a bubble of testing/synctest the application's own tickers go by the
// bubble's clock, and the server's timeouts still by its own.
func TestInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		s := servertest.Start(t, &server.Server{
			Timeouts: server.Timeouts{Idle: time.Minute},
			Handler: server.HandlerFuncs{
				OnOpen: func(c *server.Conn) {
					go func() {
						hourly := time.NewTicker(time.Hour)
						defer hourly.Stop()
						for {
							select {
							case <-hourly.C:
								_ = c.SendText("an hour") // the client sees
							case <-done:
								return
							}
						}
					}()
				},
				OnMessage: func(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) },
				OnClose:   func(*server.Conn, error) { close(done) },
			},
		})
		c := s.Connect("/")
		for range 3 {
			time.Sleep(time.Hour)
			if got := c.ReceiveText(); got != "an hour" {
				t.Errorf("got %q", got)
			}
			c.SendText("tea")
			if got := c.ReceiveText(); got != "tea" {
				t.Errorf("got %q", got)
			}
		}
		s.Advance(time.Minute + time.Second)
		if end := c.ReceiveClose(); end.Code != ws.CodeGoingAway {
			t.Errorf("closed with %v", end)
		}
	})
}
