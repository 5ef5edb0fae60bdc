package server_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestWaitedBehindProxy: an upgrade through a trusted proxy that waits for a hook's
// place is judged as one that does not wait.
func TestWaitedBehindProxy(t *testing.T) {
	t.Parallel()
	h := newSlowHook()
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Proxy.Trusted = everybodyBut9()
		s.Runtime.Loops, s.Runtime.Workers = 1, 2
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/slow" {
				h.held <- nil
				<-h.release
			}
			return server.Accept{}, nil
		}
	})
	lines := []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: www.example.com", "Origin: https://www.example.com"}
	c := dialSim(t, n, addr)
	c.send(upgradeTo("/", lines...))
	c.expectSwitch() // no wait: let in
	first := dialSim(t, n, addr)
	first.send(upgradeTo("/slow"))
	<-h.held
	c = dialSim(t, n, addr)
	c.send(upgradeTo("/", lines...))
	time.Sleep(50 * time.Millisecond)
	close(h.release)
	first.expectSwitch()
	c.expectSwitch()
}

// TestNothingBehindHalfABody: what a handler has left of a body is no request.
func TestNothingBehindHalfABody(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, _ := start(t, func(s *server.Server) {
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/smuggled" {
					t.Errorf("a body was taken for a request")
					return
				}
				ctl := http.NewResponseController(w)
				_ = ctl.EnableFullDuplex()
				_ = ctl.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, err := r.Body.Read(make([]byte, 10))
				_, _ = w.Write([]byte("late: " + err.Error()))
			})
		})
		c := connect()
		body := "GET /smuggled HTTP/1.1\nHost: a\n\n" // bare LF, moreover
		c.send(strings.Replace(post("/", body), body, "", 1))
		c.response()
		c.send(body)
		time.Sleep(50 * time.Millisecond)
	})
}

func everybodyBut9() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
}
