package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// expectDate checks that an answer's Date is the time at which it came.
func expectDate(t *testing.T, resp *http.Response) {
	t.Helper()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err != nil || len(resp.Header["Date"]) != 1 || time.Since(at).Abs() > 2*patience {
		t.Errorf("status %d with the Date %q: %v", resp.StatusCode, resp.Header["Date"], err)
	}
}

// TestAnswersHaveOneDate: each answer has one Date, which a hook may set itself.
func TestAnswersHaveOneDate(t *testing.T) {
	t.Parallel()
	const epoch = "Thu, 01 Jan 1970 00:00:00 GMT"
	own := http.Header{"date": {epoch}} // not as net/http spells it
	configure := func(s *server.Server) {
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			switch r.Path() {
			case "/refused":
				return server.Accept{}, &ws.Refusal{Status: 404}
			case "/dated":
				return server.Accept{Header: own}, nil
			}
			return server.Accept{}, nil
		}
	}
	everyWay(t, configure, func(t *testing.T, connect func() *client) {
		c := connect()
		c.send(upgradeRequest())
		expectDate(t, c.expectSwitch())
		c = connect()
		c.send(with("GET /", "GET /dated"))
		if resp := c.expectSwitch(); len(resp.Header["Date"]) != 1 || resp.Header.Get("Date") != epoch {
			t.Errorf("101 with the Date %q", resp.Header["Date"])
		}
		for request, status := range map[string]int{
			with("GET /", "GET /refused"): 404, without("Sec-WebSocket-Key:"): 400, with("Version: 13", "Version: 8"): 426, get("/"): 426,
		} {
			c := connect()
			c.send(request)
			expectDate(t, c.expectRefusal(status))
		}
	})
	addr, _ := startServer(t, nil)
	for request, status := range map[string]int{"\x16": 400, with("GET /", "GET /"+strings.Repeat("a", 17<<10)): 414} {
		c := dial(t, addr)
		c.send(request)
		expectDate(t, c.expectRefusal(status))
	}
	addr, _ = startTLS(t, nil)
	c := dial(t, addr)
	c.send(get("/")) // plain HTTP on a TLS port
	expectDate(t, c.expectRefusal(400))
}
