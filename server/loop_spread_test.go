package server_test

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestPagesAndWebSocketsLeaveLoopsAlike: pages and WebSockets that come in turn, on connections of their own or
// one behind the other, leave WebSockets on all loops alike.
func TestPagesAndWebSocketsLeaveLoopsAlike(t *testing.T) {
	t.Parallel()
	const rounds = 50
	for name, visit := range map[string]func(connect func() *client) *client{
		"on one connection": func(connect func() *client) *client {
			c := connect()
			c.send(get("/page"))
			c.expectPlain("GET /page ")
			return c.upgraded()
		},
		"a page, then a WebSocket": func(connect func() *client) *client {
			page := connect()
			page.send(get("/page"))
			page.expectPlain("GET /page ")
			return connect().upgraded()
		},
		"a page that is left": func(connect func() *client) *client {
			page := connect()
			page.send("GET /page HTTP/1.0\r\n\r\n")
			page.expectPlain("GET /page ")
			_ = page.Close()
			return connect().upgraded()
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
				plainHTTP(s)
				s.Runtime.Loops = 2
			})
			for range rounds {
				visit(func() *client { return dialSim(t, n, addr) })
				idle(t, n)
			}
			infos, err := srv.Conns(context.Background(), server.ByAge, 2*rounds)
			if err != nil {
				t.Fatal(err)
			}
			perLoop := map[string]int{}
			for _, info := range infos {
				if info.State == "open" {
					perLoop[strings.Split(info.ID.String(), ".")[1]]++
				}
			}
			if perLoop["0"] < rounds/2-5 || perLoop["1"] < rounds/2-5 {
				t.Errorf("WebSockets by loop: %v", perLoop)
			}
		})
	}
}
