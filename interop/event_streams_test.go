package interop_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// streaming is a backend of event streams, which tells of each that opens.
func streaming(t *testing.T, configure func(*server.Server)) (back *backend, conns chan *server.Conn) {
	t.Helper()
	conns = make(chan *server.Conn, 1)
	return startBackend(t, func(s *server.Server) {
		configure(s)
		s.EventStreams = true
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			return server.Accept{EventStream: r.EventStream(), KeepRequest: true}, nil
		}
		s.Handler = server.HandlerFuncs{OnOpen: func(c *server.Conn) { conns <- c }}
	}), conns
}

// stream opens an event stream through the balancer.
func (b *balancer) stream(ctx context.Context, scheme, query string, http2 bool) *http.Response {
	b.t.Helper()
	ctx, stop := context.WithTimeout(ctx, patience)
	b.t.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+b.addr+"/feed?"+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", sse.ContentType)
	r.Header.Set("Last-Event-ID", "e-7")
	transport := &http.Transport{TLSClientConfig: anyCertificate(), ForceAttemptHTTP2: http2}
	b.t.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != sse.ContentType || (resp.ProtoMajor == 2) != http2 {
		b.t.Fatalf("status %d over %s with %v", resp.StatusCode, resp.Proto, resp.Header)
	}
	return resp
}

// bareNginx is nginx with nothing set, which speaks HTTP/1.0 to the server.
func bareNginx(t *testing.T, addr string) *balancer {
	t.Helper()
	return startNginx(t, nginxHTTPHead+`
		location / {
			proxy_pass http://{{.Server}};
		}
	}
}
`, map[string]string{"Modules": "", "Listen": "", "Server": addr})
}

// TestEventStreamsBehind: through a balancer each event comes when it is sent, the server sees where
// the client was, and each side sees the end of the other.
func TestEventStreamsBehind(t *testing.T) {
	for name, test := range map[string]struct {
		start  func(t *testing.T, addr string) *balancer
		server func(*server.Server)
		scheme string
		http2  bool
	}{
		"HAProxy":             {haproxy{backend: "\toption forwardfor"}.start, trusting, "http", false},
		"HAProxy, tcp, PROXY": {haproxy{mode: "tcp", server: "send-proxy-v2"}.start, proxied, "http", false},
		"HAProxy, HTTP/2":     {haproxy{bind: "ssl crt PEM alpn h2,http/1.1", backend: "\toption forwardfor"}.start, trusting, "https", true},
		"nginx":               {nginx{location: nginxForwards}.start, trusting, "http", false},
		"nginx, stream":       {nginx{stream: true, location: "proxy_protocol on;"}.start, proxied, "http", false},
		"nginx, HTTP/1.0":     {bareNginx, trusting, "http", false},
		"nginx, HTTP/2":       {nginx{listen: "ssl http2", location: nginxForwards}.start, trusting, "https", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back, conns := streaming(t, test.server)
			b := test.start(t, back.addr)
			resp := b.stream(t.Context(), test.scheme, "topic=a%2Fb", test.http2)
			c := <-conns
			if r := c.Request(); r.Header("Last-Event-ID") != "e-7" || r.Query().Get("topic") != "a/b" {
				t.Errorf("Last-Event-ID %q, query %q", r.Header("Last-Event-ID"), r.RawQuery())
			}
			events := sse.NewReader(resp.Body)
			for _, text := range []string{"one", "two", strings.Repeat("x", 100_000), "three"} {
				if err := c.SendText(text); err != nil {
					t.Error(err)
				}
				if e, err := events.Next(); err != nil || string(e.Data) != text {
					t.Fatalf("event of %d bytes, %v, want %d", len(e.Data), err, len(text))
				}
			}
			if err := c.Close(ws.CodeGoingAway, "bye"); err != nil {
				t.Error(err)
			}
			if e, err := events.Next(); err != nil || e.Name != "close" {
				t.Errorf("event %q, %v", e.Name, err)
			}
			if e, err := events.Next(); err == nil {
				t.Errorf("event %q behind the end", e.Name)
			}
			ctx, leave := context.WithCancel(t.Context())
			b.stream(ctx, test.scheme, "", test.http2)
			c = <-conns
			leave()
			eventually(t, "the server sees that the client has left", func() bool {
				_ = c.SendText("is somebody there?") // HAProxy lets a client end its direction only, and notices when it sends
				return back.Stats().EventStreams.Left == 1
			})
		})
	}
}

// TestEventStreamsIdle: comments come in time for the balancer, which would cut a silent stream.
func TestEventStreamsIdle(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, addr string) *balancer{
		"HAProxy": haproxy{idle: "2s"}.start, "nginx": nginx{idle: "2s"}.start,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back, conns := streaming(t, trusting)
			b := start(t, back.addr)
			silent := b.stream(t.Context(), "http", "", false)
			<-conns
			if e, err := sse.NewReader(silent.Body).Next(); err == nil {
				t.Errorf("event %q, want the end of a silent stream", e.Name)
			}
			back, conns = streaming(t, pinging)
			b = start(t, back.addr)
			kept := b.stream(t.Context(), "http", "", false)
			c := <-conns
			eventually(t, "some comments", func() bool { return back.Stats().EventStreams.Comments >= 4 })
			_ = c.SendText("still here")
			if e, err := sse.NewReader(kept.Body).Next(); err != nil || string(e.Data) != "still here" {
				t.Errorf("event %q, %v", e.Data, err)
			}
		})
	}
}

// TestCurl: curl -N shows a stream as it comes.
func TestCurl(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl: install Debian's package curl")
	}
	back, conns := streaming(t, func(*server.Server) {})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, program, "-sNH", "Accept: text/event-stream", "http://"+back.addr+"/feed")
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c := <-conns
	lines := bufio.NewScanner(out)
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if !lines.Scan() || lines.Text() != w {
				t.Errorf("line %q, want %q", lines.Text(), w)
			}
		}
	}
	expect(":", "")
	_ = c.SendEvent(sse.Event{ID: "1", Name: "tick", Data: []byte("a\nb")})
	expect("event: tick", "id: 1", "data: a", "data: b", "")
	_ = c.Close(ws.CodeNormal, "")
	expect("event: close", `data: {"code":1000,"reason":""}`, "")
	if lines.Scan() {
		t.Errorf("line %q behind the end", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("curl: %v", err)
	}
}
