package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// leaveToHTTP is a hook that leaves the paths below /proxied to HTTP.
func leaveToHTTP(r *ws.Request) (server.Accept, error) {
	if strings.HasPrefix(r.Path(), "/proxied") {
		return server.Accept{}, fmt.Errorf("not ours: %w", server.ErrUseHTTP)
	}
	return server.Accept{}, nil
}

// lineServer is another library: it hijacks upgrades, answers with what it was asked,
// and echoes bytes.
func lineServer(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" || r.URL.Path == "/proxied/page" {
		answerPlain(w, r)
		return
	}
	conn, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	defer func() { _ = conn.Close() }() // the client sees
	h := r.Header
	_, _ = fmt.Fprintf(brw, "HTTP/1.1 101 Other\r\nX-Was: %s %s %s %s %s\r\n\r\n",
		r.RequestURI, r.Host, h.Get("Upgrade"), h.Get("Connection"), h.Get("Sec-WebSocket-Key"))
	_ = brw.Flush()
	_, _ = io.Copy(conn, brw)
}

// expectOther reads the answer of a lineServer.
func (c *client) expectOther(uri string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if want := uri + " example.com websocket Upgrade " + clientKey; resp.StatusCode != 101 || resp.Header.Get("X-Was") != want {
		c.t.Fatalf("%s with %v, want %q", resp.Status, resp.Header, want)
	}
}

// expectBytes reads what is echoed.
func (c *client) expectBytes(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if c.full(got); string(got) != want {
		c.t.Fatalf("read %q, want %q", got, want)
	}
}

// leavingToHTTP are the ways on which a request may come that is left to HTTP.
var leavingToHTTP = map[string]starter{
	"simnet": onSimnet, "sockets": onSockets, "TLS on simnet": onTLSSimnet, "TLS on sockets": onTLSSockets,
	"bridge": onMounted(startBridge), "bridge to TLS": onMounted(startTLSBridge),
}

// TestUpgradeLeftToHTTP: the request comes to HTTP as it was sent, and the connection is
// whoever's who hijacks it, with what stands behind the request.
func TestUpgradeLeftToHTTP(t *testing.T) {
	for name, start := range leavingToHTTP {
		t.Run(name, func(t *testing.T) {
			connect, srv := start(t, func(s *server.Server) {
				s.Upgrade, s.HTTP = leaveToHTTP, http.HandlerFunc(lineServer)
				s.Limits.HTTPConns, s.Limits.Conns = 1, 1
			})
			for _, split := range []int{1, 20, 1 << 20} {
				c := connect()
				for in := upgradeTo("/proxied?x=%2f") + "behind"; in != ""; in = in[min(split, len(in)):] {
					c.send(in[:min(split, len(in))])
				}
				c.expectOther("/proxied?x=%2f")
				c.expectBytes("behind")
				c.send("and on")
				c.expectBytes("and on")
				c.closeWrite()
				c.expectEnd()
			}
			connect().upgraded() // the places of the others are free
			if s := srv.Stats(); s.Upgraded != 1 || s.Refused != 0 {
				t.Errorf("%d upgraded, %d refused, want 1, 0", s.Upgraded, s.Refused)
			}
		})
	}
}

// TestUpgradeLeftToHTTPAsPage: HTTP may just answer. What follows on the connection is
// judged as ever: pages, upgrades that are left to HTTP, and those that are not.
func TestUpgradeLeftToHTTPAsPage(t *testing.T) {
	for name, start := range leavingToHTTP {
		t.Run(name, func(t *testing.T) {
			connect, _ := start(t, func(s *server.Server) {
				s.Upgrade, s.HTTP = leaveToHTTP, http.HandlerFunc(lineServer)
			})
			c := connect()
			for range 2 {
				c.send(upgradeTo("/proxied/page"))
				c.expectPlain("GET /proxied/page ")
			}
			if strings.HasPrefix(name, "bridge") {
				return // mounted, there are no pages
			}
			c.send(get("/page") + upgradeTo("/proxied/page") + get("/page"))
			c.expectPlain("GET /page ")
			c.expectPlain("GET /proxied/page ")
			c.expectPlain("GET /page ")
			other := connect()
			other.send(get("/page") + upgradeTo("/proxied") + "behind")
			other.expectPlain("GET /page ")
			other.expectOther("/proxied")
			other.expectBytes("behind")
			c.send(upgradeTo("/") + frame(opText, "ours"))
			c.expectSwitch()
			c.expect(opText, "ours")
		})
	}
}

// TestUpgradeLeftToNobody: without HTTP it gets 404, and so it does where HTTP is the
// server itself.
func TestUpgradeLeftToNobody(t *testing.T) {
	for name, start := range leavingToHTTP {
		t.Run(name, func(t *testing.T) {
			for _, itself := range []bool{false, true} {
				connect, srv := start(t, func(s *server.Server) {
					if s.Upgrade = leaveToHTTP; itself {
						s.HTTP = s
					}
				})
				c := connect()
				c.send(upgradeTo("/proxied") + frame(opText, "behind"))
				c.expectRefusal(404)
				if s := srv.Stats(); s.Refusals[404] != 1 {
					t.Errorf("refusals: %v", s.Refusals)
				}
			}
		})
	}
}

// TestUpgradeLeftToHTTPIsJudged: what is wrong with a request, or with where it comes
// from, HTTP never sees.
func TestUpgradeLeftToHTTPIsJudged(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, func(s *server.Server) {
		s.Origin.Hosts, s.Upgrade = []string{"example.com"}, leaveToHTTP
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/page" {
				answerPlain(w, r)
				return
			}
			t.Errorf("HTTP got %v", r)
		})
	})
	request := upgradeTo("/proxied")
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"bare LF":      {strings.Replace(request, "Upgrade\r\n", "Upgrade\n", 1), 400},
		"folded":       {strings.Replace(request, "\r\nUpgrade", "\r\n Upgrade", 1), 400},
		"two lengths":  {strings.Replace(request, "\r\nUpgrade", "\r\nContent-Length: 1\r\nContent-Length: 2\r\nUpgrade", 1), 400},
		"no key":       {strings.Replace(request, "Sec-WebSocket-Key", "X-Key", 1), 400},
		"old version":  {strings.Replace(request, "Version: 13", "Version: 8", 1), 426},
		"other host":   {strings.Replace(request, "example.com", "evil.example", 1), 421},
		"other origin": {strings.Replace(request, "\r\nUpgrade", "\r\nOrigin: http://evil.example\r\nUpgrade", 1), 403},
	} {
		t.Run(name, func(t *testing.T) {
			first := dial(t, addr)
			first.send(c.request)
			first.expectRefusal(c.status)
			later := dial(t, addr)
			later.send(get("/page") + c.request)
			later.expectPlain("GET /page ")
			later.expectRefusal(c.status)
		})
	}
}

// TestUpgradeLeftToHTTPSlowly: a hook that has lost its loop meanwhile leaves the request
// as well.
func TestUpgradeLeftToHTTPSlowly(t *testing.T) {
	for name, start := range map[string]starter{"simnet": onSimnet, "TLS on sockets": onTLSSockets} {
		t.Run(name, func(t *testing.T) {
			h := newSlowHook()
			connect, srv := start(t, func(s *server.Server) {
				s.Runtime.Loops, s.Runtime.Workers, s.HTTP = 1, 4, http.HandlerFunc(lineServer)
				s.Upgrade = func(r *ws.Request) (server.Accept, error) {
					if accept, err := h.upgrade(r); err != nil {
						return accept, err
					}
					return server.Accept{}, server.ErrUseHTTP
				}
			})
			late := make([]*client, 5) // some wait for a hook's place
			for i := range late {
				late[i] = connect()
				late[i].send(upgradeTo("/slow") + "behind")
			}
			<-h.held
			eventually(t, "the loop is taken", func() bool { return srv.Stats().Handovers > 0 })
			close(h.release)
			for _, c := range late {
				c.expectOther("/slow")
				c.expectBytes("behind")
			}
		})
	}
}

// TestUpgradeLeftToProxy: behind HTTP there may be another server, at the other end of
// httputil.ReverseProxy; a Mux routes to it.
func TestUpgradeLeftToProxy(t *testing.T) {
	for name, start := range leavingToHTTP {
		t.Run(name, func(t *testing.T) {
			behind, _ := startServer(t, nil)
			proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: behind})
				r.Out.Host = r.In.Host // for the other's own check of the origin
			}}
			mux := &server.Mux{}
			mux.Handle("/ours", echo{})
			mux.HandleUpgrade("/theirs/{path...}", func(*ws.Request) (server.Accept, error) {
				return server.Accept{}, server.ErrUseHTTP
			})
			connect, srv := start(t, func(s *server.Server) {
				s.Handler, s.Upgrade, s.HTTP = nil, mux.Upgrade, proxy
			})
			for _, path := range []string{"/theirs/a", "/ours"} {
				c := connect()
				c.send(upgradeTo(path))
				if strings.HasPrefix(name, "bridge") {
					c.expectSwitch() // net/http reads on, and ReverseProxy loses what it has read
				}
				c.send(frame(opText, "behind"))
				if !strings.HasPrefix(name, "bridge") {
					c.expectSwitch()
				}
				c.expect(opText, "behind")
				c.send(frame(opBinary, strings.Repeat("b", 1<<20)))
				c.expect(opBinary, strings.Repeat("b", 1<<20))
				c.send(frame(opClose, closePayload(1000, "")))
				c.expectClose(1000)
			}
			if s := srv.Stats(); s.Upgraded != 1 {
				t.Errorf("%d upgraded here, want 1", s.Upgraded)
			}
		})
	}
}

// TestStreamLeftToHTTP: over HTTP/2 it is the extended CONNECT that comes to HTTP.
func TestStreamLeftToHTTP(t *testing.T) {
	t.Parallel()
	addr, _ := startStreams(t, func(s *server.Server) {
		s.Upgrade = leaveToHTTP
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.Method+" "+r.Header.Get(":protocol"), http.StatusTeapot)
		})
	})
	c := dial(t, addr)
	c.send(upgradeTo("/proxied"))
	if resp, body := c.response(); resp.StatusCode != 418 || strings.TrimSpace(body) != "CONNECT websocket" {
		t.Errorf("%s, %q", resp.Status, body)
	}
}

// TestHijackedInDrain: what HTTP has hijacked is its own: a drain neither waits for it nor
// ends it, and its address's place is free when it is closed.
func TestHijackedInDrain(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, func(s *server.Server) {
		s.Upgrade, s.HTTP, s.Limits.ConnsPerAddr = leaveToHTTP, http.HandlerFunc(lineServer), 1
	})
	c := dial(t, addr)
	c.send(upgradeTo("/proxied"))
	c.expectOther("/proxied")
	second := dial(t, addr)
	second.send(upgradeTo("/"))
	second.expectRefusal(503)
	c.closeWrite()
	c.expectEnd()
	eventually(t, "the address's place is free", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, upgradeTo("/"))
		resp, readErr := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && readErr == nil && resp.StatusCode == 101
	})
	eventually(t, "it is gone", func() bool { return srv.Stats().Open == 0 })
	c = dial(t, addr)
	c.send(upgradeTo("/proxied"))
	c.expectOther("/proxied")
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	c.send("still here")
	c.expectBytes("still here")
}
