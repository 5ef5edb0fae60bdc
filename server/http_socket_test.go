package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// largePages answers with a megabyte.
func largePages(s *server.Server) {
	s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // the test sees
		}
		_, _ = io.WriteString(w, strings.Repeat("m", 1<<20)) // as above
	})
}

// TestPagesNotRead: a peer that asks and never reads is cut, and its place is free.
func TestPagesNotRead(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			largePages(s)
			s.Timeouts.Write = 300 * time.Millisecond
		})
		for range 3 {
			connect().send(strings.Repeat(get("/"), 20))
		}
		eventually(t, "they have come", func() bool { return srv.Stats().HandedToHTTP == 3 })
		eventually(t, "they are cut", func() bool { return srv.DrainProgress().HTTP == 0 })
		hits(t, srv, server.LimitWriteTimeout, 3)
	})
}

// TestPagesReadSlowly: a peer that reads slowly gets all.
func TestPagesReadSlowly(t *testing.T) {
	t.Parallel()
	onOwnPortSlowly(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			largePages(s)
			s.Timeouts.Write = 2 * time.Second
		})
		c := connect()
		c.send(strings.Repeat(get("/"), 8))
		for range 8 {
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				time.Sleep(200 * time.Millisecond)
				if _, err := io.CopyN(io.Discard, resp.Body, 1<<19); err != nil {
					t.Fatal(err)
				}
			}
		}
		hits(t, srv, server.LimitWriteTimeout, 0)
	})
}

// TestPagesSlowLink: a peer whose side takes little at a time lives, though the kernel
// takes nothing more of us for long: what is acknowledged counts.
func TestPagesSlowLink(t *testing.T) {
	t.Parallel()
	onOwnSockets(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			largePages(s)
			s.Timeouts.Write = 2 * time.Second
		})
		c := connect()
		c.send(strings.Repeat(get("/"), 20))
		for range 25 {
			time.Sleep(200 * time.Millisecond)
			if _, err := io.CopyN(io.Discard, c.r, 64<<10); err != nil {
				t.Fatal(err)
			}
		}
		hits(t, srv, server.LimitWriteTimeout, 0)
		eventually(t, "it is cut when it takes nothing", func() bool { return srv.DrainProgress().HTTP == 0 })
		hits(t, srv, server.LimitWriteTimeout, 1)
	})
}

// TestPagesOwnDeadline: a handler's own write deadline holds if it is earlier.
func TestPagesOwnDeadline(t *testing.T) {
	t.Parallel()
	onOwnPortSlowly(t, func(t *testing.T, start starter) {
		connect, srv := start(t, largePages)
		connect().send(strings.Repeat(get("/own"), 20))
		eventually(t, "it has come", func() bool { return srv.Stats().HandedToHTTP == 1 })
		eventually(t, "it is cut", func() bool { return srv.DrainProgress().HTTP == 0 })
		hits(t, srv, server.LimitWriteTimeout, 0)
	})
}

// bodies answers with what became of the body: read by the handler, or not at all.
func bodies(s *server.Server) {
	s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctl := http.NewResponseController(w)
		switch r.URL.Path {
		case "/unread":
			return
		case "/own":
			_ = ctl.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // the test sees
		case "/duplex":
			_ = ctl.EnableFullDuplex()
			_, _ = io.WriteString(w, "first ")
			_ = ctl.Flush()
		}
		n, err := io.Copy(io.Discard, r.Body)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_, _ = io.WriteString(w, "late")
			return
		}
		_, _ = fmt.Fprintf(w, "all %d", n)
	})
}

// TestBodyTimeout: a body that does not come fails, whoever waits for it.
func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	onOwnPortSlowly(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			bodies(s)
			s.Timeouts.Body = 400 * time.Millisecond
		})
		head := func(path, framing string) string {
			return "POST " + path + " HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n"
		}
		met := uint64(0)
		for _, framing := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
			for path, want := range map[string]string{"/read": "late", "/unread": "", "/duplex": "first late"} {
				for _, before := range []string{"", get("/page")} {
					c := connect()
					if before != "" {
						c.send(before)
						c.response()
					}
					c.send(head(path, framing))
					if resp, body := c.response(); body != want || path != "/duplex" && !resp.Close {
						t.Errorf("%s, %s: %q, close %v", path, framing, body, resp.Close)
					}
					c.expectEnd()
					met++
				}
			}
		}
		hits(t, srv, server.LimitBodyTimeout, met)
		c := connect()
		c.send(head("/own", "Content-Length: 100000"))
		if _, body := c.response(); body != "late" {
			t.Errorf("with the handler's own deadline: %q", body)
		}
		hits(t, srv, server.LimitBodyTimeout, met)
	})
}

// TestSlowBody: a body that comes slowly comes through.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	onOwnPortSlowly(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			bodies(s)
			s.Timeouts.Body = 2 * time.Second
		})
		c := connect()
		c.send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 28672\r\n\r\n")
		for range 7 {
			time.Sleep(400 * time.Millisecond)
			c.send(strings.Repeat("b", 4<<10))
		}
		if _, body := c.response(); body != "all 28672" {
			t.Errorf("%q", body)
		}
		hits(t, srv, server.LimitBodyTimeout, 0)
	})
}

// TestHTTPIdleTimeout: a connection is kept so long between two requests.
func TestHTTPIdleTimeout(t *testing.T) {
	t.Parallel()
	onOwnPortSlowly(t, func(t *testing.T, start starter) {
		connect, srv := start(t, func(s *server.Server) {
			plainHTTP(s)
			s.Timeouts.HTTPIdle = 2 * time.Second
		})
		c := connect()
		for range 4 {
			c.send(get("/"))
			c.expectPlain("GET / ")
			time.Sleep(700 * time.Millisecond)
		}
		c.expectEOF()
		eventually(t, "net/http has none", func() bool { return srv.DrainProgress().HTTP == 0 })
	})
	srv := &server.Server{Logger: noLog, Runtime: server.Runtime{Engine: systemEngine(t)}, Keepalive: server.Keepalive{BalancerIdle: time.Minute}, Timeouts: server.Timeouts{HTTPIdle: time.Minute}}
	if _, err := srv.Listen("tcp", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "Timeouts.HTTPIdle") {
		t.Errorf("as long as the balancer's: %v", err)
	}
}

// TestUnixPages: what net/http gets of a Unix socket has no address of TCP.
func TestUnixPages(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		for _, header := range []string{"", "PROXY UNKNOWN\r\n"} {
			path := t.TempDir() + "/s"
			srv, _ := prepare(t, systemEngine(t), func(s *server.Server) {
				s.Proxy.Protocol = header != ""
				s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					local := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
					_, _ = io.WriteString(w, r.RemoteAddr+" "+local.String()) // the client sees
				})
				if secure {
					withTLS(nil)(s)
				}
			})
			ln, err := srv.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = serve(srv, ln) }() // until closeServer
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, header); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, conn)
			if secure {
				c, _ = secured(t, conn, clientTLS())
			}
			c.send(get("/"))
			if _, body := c.response(); strings.Contains(body, ":0") || !strings.HasSuffix(body, path) {
				t.Errorf("addresses %q", body)
			}
			closeServer(t, srv)
		}
	}
}
