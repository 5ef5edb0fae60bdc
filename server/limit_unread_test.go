package server_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestTurnedAwayUnread: who is turned away before his request was read is in the log,
// with the address that was one too many, and is counted by the limit. He is no refused
// upgrade: he may have asked for a page.
func TestTurnedAwayUnread(t *testing.T) {
	t.Parallel()
	const proxy = "PROXY TCP4 203.0.113.7 192.0.2.1 5000 80\r\n"
	for name, test := range map[string]struct {
		limit     server.Limit
		begin     string
		configure func(*server.Server)
		remote    string
	}{
		"an address": {server.LimitConnsPerAddr, "", func(s *server.Server) { s.Limits.ConnsPerAddr = 1 }, "198.51.100.2:"},
		"an address behind a PROXY header": {server.LimitConnsPerAddr, proxy, func(s *server.Server) {
			s.Limits.ConnsPerAddr, s.Proxy.Protocol = 1, true
			s.Proxy.Trusted = prefixes("198.51.100.0/24")
		}, "203.0.113.7:5000 "},
		"handshakes": {server.LimitHandshakes, "", func(s *server.Server) { s.Limits.Handshakes = 1 }, "198.51.100.2:"},
	} {
		t.Run(name, func(t *testing.T) {
			book := &logBook{}
			n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
				s.Logger = book.loggerAt(slog.LevelDebug)
				test.configure(s)
			})
			first := dialAs(t, n, addr, "198.51.100.2")
			if first.send(test.begin + "GET"); test.limit == server.LimitConnsPerAddr {
				first.send(strings.TrimPrefix(upgradeRequest(), "GET"))
				first.expectSwitch()
			}
			idle(t, n)
			for _, request := range []string{get("/healthz"), upgradeRequest()} {
				c := dialAs(t, n, addr, "198.51.100.2")
				c.send(test.begin + request)
				c.expectRefusal(503)
			}
			if line := lastLine(t, book, "request refused", 2); !strings.Contains(line, "remote="+test.remote) {
				t.Errorf("%q lacks remote=%s", line, test.remote)
			}
			hits(t, srv, test.limit, 2)
			if got := srv.Stats(); got.Refused != 0 || len(got.Refusals) != 0 {
				t.Errorf("%d refused: %v", got.Refused, got.Refusals)
			}
		})
	}
}
