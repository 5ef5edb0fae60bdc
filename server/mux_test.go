package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// routed is what a mux makes of a request: the pattern that matched, "" if none,
// and the values of the wildcards that the tests use.
type routed struct{ pattern, a, b, rest string }

// muxPair is a Mux and the net/http.ServeMux that says what it should do.
type muxPair struct {
	mux      server.Mux
	oracle   http.ServeMux
	got      routed
	expected routed
}

// add registers a pattern with both. It reports whether they agreed on taking it.
func (p *muxPair) add(pattern string) (agree bool, reason string) {
	gotPanic := panicOf(func() {
		p.mux.HandleUpgrade(pattern, func(r *ws.Request) (server.Accept, error) {
			p.got = routed{pattern, r.PathValue("a"), r.PathValue("b"), r.PathValue("rest")}
			return server.Accept{}, nil
		})
	})
	wantPanic := panicOf(func() {
		p.oracle.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) {
			p.expected = routed{pattern, r.PathValue("a"), r.PathValue("b"), r.PathValue("rest")}
		})
	})
	return (gotPanic == "") == (wantPanic == ""), fmt.Sprintf("Mux: %q, ServeMux: %q", gotPanic, wantPanic)
}

func panicOf(f func()) (reason string) {
	defer func() {
		if r := recover(); r != nil {
			reason = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

// route asks both. It reports false for a path that one of them does not read, or
// that ServeMux redirects to the same with a slash, as Mux never does.
func (p *muxPair) route(t *testing.T, path string) (comparable bool) {
	t.Helper()
	var r ws.Request
	u, err := url.ParseRequestURI(path)
	if err != nil || u.EscapedPath() != path || r.Parse(upgradeHead(path)) != nil {
		return false
	}
	p.got, p.expected = routed{}, routed{}
	accept, err := p.mux.Upgrade(&r)
	var refusal *ws.Refusal
	if p.got.pattern == "" && (!errors.As(err, &refusal) || refusal.Status != http.StatusNotFound) {
		t.Errorf("%q: %+v, %v, want a refusal with 404", path, accept, err)
	}
	w := httptest.NewRecorder()
	p.oracle.ServeHTTP(w, &http.Request{Method: "GET", URL: u, Host: "test"})
	to, err := url.Parse(w.Header().Get("Location"))
	return err != nil || to.Path != u.Path+"/"
}

func upgradeHead(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)
}

var muxPatterns = []string{
	"/", "/{$}", "/{a}", "/{rest...}", "/{a}/", "/{a}/{$}", "/{a}/{b}", "/{a}/{rest...}",
	"/x", "/x/", "/x/{$}", "/x/{b}", "/x/{rest...}", "/x/y", "/{a}/y", "/{a}/y/{b}", "/x/{b}/z", "/x/{b}/z/",
	"/%78", "/x%20y", "/caf%C3%A9/{a}", "/x/y/{rest...}", "/{b}/{a}",
}

var muxPaths = []string{
	"/", "/x", "/x/", "/x/y", "/x/y/", "/y", "/y/", "/x/y/z", "/x/y/z/", "/y/y", "/y/y/x", "/x/y/x",
	"/%78", "/x%20y", "/x/%79", "/x/a%2Fb", "/a%2Fb/c", "/caf%C3%A9/%C3%A9", "/x/a%20b/c%2fd/", "/x/%2e%2e/y",
	"//", "/x//y", "/./x", "/x/../y", "/x/.", "/x/..", "/..",
}

// TestMuxPairs routes every path through every pair of patterns.
func TestMuxPairs(t *testing.T) {
	for _, first := range muxPatterns {
		for _, second := range muxPatterns {
			var p muxPair
			for _, pattern := range []string{first, second} {
				if agree, reason := p.add(pattern); !agree {
					t.Errorf("%s and %s: %s", first, second, reason)
				}
			}
			for _, path := range muxPaths {
				if p.route(t, path) && p.got != p.expected {
					t.Errorf("%s and %s: %s is %+v, want %+v", first, second, path, p.got, p.expected)
				}
			}
		}
	}
}

func TestMuxRefusesPattern(t *testing.T) {
	hook := func(*ws.Request) (server.Accept, error) { return server.Accept{}, nil }
	for pattern, want := range map[string]string{
		"":                `pattern "": must be a path that begins with a slash`,
		"GET /x":          "without method and host",
		"example.com/x":   "without method and host",
		"/{a}/{a}":        `duplicate wildcard name "a"`,
		"/{a}/{a...}":     `duplicate wildcard name "a"`,
		"/{rest...}/x":    "{rest...} must stand at the end",
		"/{$}/x":          "{$} must stand at the end",
		"/{}":             `wildcard name "" is not a Go identifier`,
		"/{...}":          `wildcard name "" is not a Go identifier`,
		"/{1}":            `wildcard name "1" is not a Go identifier`,
		"/{$...}":         `wildcard name "$" is not a Go identifier`,
		"/x{a}":           "a wildcard must be all of its segment",
		"/{a}x":           "a wildcard must be all of its segment",
		"/{":              "a wildcard must be all of its segment",
		"/x//y":           `segment "" can never match`,
		"/x/../y":         `segment ".." can never match`,
		"/taken/{name}":   `pattern "/taken/{name}" is registered already`,
		"/taken/{other}":  `pattern "/taken/{other}" conflicts with "/taken/{name}"`,
		"/{any}/of/these": `pattern "/{any}/of/these" conflicts with "/taken/{a}/{b}"`,
	} {
		var mux server.Mux
		mux.HandleUpgrade("/taken/{name}", hook)
		mux.HandleUpgrade("/taken/{a}/{b}", hook)
		got := panicOf(func() { mux.HandleUpgrade(pattern, hook) })
		if !strings.HasPrefix(got, "server: ") || !strings.Contains(got, want) {
			t.Errorf("%q: panic %q, want one with %q", pattern, got, want)
		}
	}
	var mux server.Mux
	if got := panicOf(func() { mux.Handle("GET /x", nil) }); got != `server: pattern "GET /x": nil handler` {
		t.Errorf("nil handler: panic %q", got)
	}
	if got := panicOf(func() { mux.HandleUpgrade("/", nil) }); got != `server: pattern "/": nil upgrade hook` {
		t.Errorf("nil hook: panic %q", got)
	}
}

// TestMuxOnServer has a route with a handler, one with a hook, and none.
func TestMuxOnServer(t *testing.T) {
	t.Parallel()
	onTransports(t, testMuxOnServer)
}

func testMuxOnServer(t *testing.T, serve serving) {
	t.Parallel()
	var mux server.Mux
	mux.Handle("/echo", echo{})
	mux.HandleUpgrade("/rooms/{room}", func(r *ws.Request) (server.Accept, error) {
		return server.Accept{Header: http.Header{"Room": {r.PathValue("room")}}}, nil
	})
	addr, _ := serve(t, func(s *server.Server) { s.Upgrade = mux.Upgrade })
	for _, c := range []struct {
		path   string
		status int
		room   string
	}{
		{"/echo", 101, ""},
		{"/echo?x=1", 101, ""},
		{"/rooms/sea%20sky", 101, "sea sky"},
		{"/rooms/sky%2Fsea", 101, "sky/sea"},
		{"/rooms/", 404, ""},
		{"/rooms/../echo", 404, ""},
		{"/nowhere", 404, ""},
	} {
		conn := dial(t, addr)
		conn.send("GET " + c.path + " HTTP/1.1\r\n" + upgradeLines + "\r\n")
		resp, body := conn.response()
		if resp.StatusCode != c.status || resp.Header.Get("Room") != c.room {
			t.Errorf("%s: status %d (%q), room %q; want %d, %q",
				c.path, resp.StatusCode, body, resp.Header.Get("Room"), c.status, c.room)
		}
	}
}

func FuzzMux(f *testing.F) {
	all := strings.Join(muxPatterns, "\n")
	for _, path := range muxPaths {
		f.Add(all, path)
	}
	f.Add("/{a}x\n/{a}\n/{b}/{a...}\n/x}", "/x/%7B/y")
	f.Fuzz(func(t *testing.T, patterns, path string) {
		var p muxPair
		for pattern := range strings.SplitSeq(patterns, "\n") {
			if differsByDesign(pattern) {
				continue
			}
			if agree, reason := p.add(pattern); !agree {
				t.Errorf("%q: %s", pattern, reason)
			}
		}
		if hasSlashSegment(path) || !p.route(t, path) {
			return
		}
		if p.got != p.expected {
			t.Errorf("%q is %+v, want %+v", path, p.got, p.expected)
		}
	})
}

// differsByDesign says of which patterns Mux and ServeMux think differently:
// those with a method or a host, which Mux does not have, and those for paths
// that ServeMux cleans away, which Mux refuses.
func differsByDesign(pattern string) bool {
	if !strings.HasPrefix(pattern, "/") || strings.ContainsAny(pattern, " \t") || hasSlashSegment(pattern) {
		return true
	}
	segments := strings.Split(pattern[1:], "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			return true
		}
	}
	return false
}

// hasSlashSegment: ServeMux takes a segment that is an escaped slash for {$}.
func hasSlashSegment(path string) bool {
	return strings.Contains(strings.ToUpper(path)+"/", "/%2F/")
}

// muxRequest is a mux with a few routes and a request for path.
func muxRequest(tb testing.TB, path string) (*server.Mux, *ws.Request) {
	var mux server.Mux
	for _, pattern := range []string{"/chat", "/rooms/{room}", "/files/{path...}", "/exact/{$}"} {
		mux.Handle(pattern, echo{})
	}
	var r ws.Request
	if err := r.Parse(upgradeHead(path)); err != nil {
		tb.Fatal(err)
	}
	return &mux, &r
}

func TestMuxAllocations(t *testing.T) {
	for path, want := range map[string]float64{
		"/chat":       0,
		"/exact/":     0,
		"/nowhere":    0,
		"/rooms/blue": 1, // the value
	} {
		mux, r := muxRequest(t, path)
		if got := testing.AllocsPerRun(100, func() { _, _ = mux.Upgrade(r) }); got > want {
			t.Errorf("%s: %v allocations, want %v", path, got, want)
		}
	}
}

func BenchmarkMux(b *testing.B) {
	for _, path := range []string{"/chat", "/rooms/blue", "/nowhere"} {
		b.Run(path, func(b *testing.B) {
			mux, r := muxRequest(b, path)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = mux.Upgrade(r)
			}
		})
	}
}

// TestMuxHandlerReplaced: a hook around a mux decides who handles a connection.
func TestMuxHandlerReplaced(t *testing.T) {
	t.Parallel()
	var mux server.Mux
	mux.Handle("/", echo{})
	n, addr, _ := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
			a, err := mux.Upgrade(r)
			inner := a.Handler
			a.Handler = server.HandlerFuncs{OnMessage: func(c *server.Conn, m ws.Message) {
				_ = c.SendText("before")
				inner.Message(c, m)
			}}
			return a, err
		}
	})
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "hello"))
	c.expect(opText, "before")
	c.expect(opText, "hello")
}
