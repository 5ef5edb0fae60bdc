package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// anyPage is a handler that does all that handlers may do with a connection.
func anyPage(w http.ResponseWriter, r *http.Request) {
	ctl := http.NewResponseController(w)
	switch r.URL.Path {
	case "/hijack":
		conn, _, err := ctl.Hijack()
		if err == nil {
			go func() {
				_ = conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	case "/panic":
		panic(http.ErrAbortHandler)
	case "/duplex":
		_ = ctl.EnableFullDuplex()
		_, _ = io.WriteString(w, "first")
		_ = ctl.Flush()
		_, _ = io.Copy(w, r.Body)
	case "/big":
		for range 100 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	case "/noread":
	case "/slow":
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	default:
		answerPlain(w, r)
	}
}

// oddRequest is one of those that something may be wrong with.
func oddRequest() string {
	paths := []string{"/hijack", "/panic", "/duplex", "/big", "/noread", "/slow", "/", "/", "/", "/"}
	p := paths[rand.IntN(len(paths))]
	switch rand.IntN(8) {
	case 0:
		return chunked(p, strings.Repeat("x", rand.IntN(5000)))
	case 1:
		return strings.Replace(chunked(p, "hello"), "hello\r\n", "hello\n", 1)
	case 2:
		return strings.Replace(post(p, "hello"), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
	case 3:
		return upgradeTo([]string{"/", "/slowhook", "/panichook"}[rand.IntN(3)]) + frame(opText, "a")
	case 4:
		return post(p, strings.Repeat("x", rand.IntN(20000)))
	}
	return get(p)
}

// oddClient sends some of them, whole or not, and leaves in one of many ways.
func oddClient(addr string, tlsOn bool) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	under := conn.(*net.TCPConn)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if tlsOn {
		conf := clientTLS()
		if rand.IntN(4) == 0 {
			conf.NextProtos = []string{"h2"}
		}
		tc := tls.Client(conn, conf)
		if rand.IntN(10) == 0 {
			go func() { time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond); _ = under.Close() }()
		}
		if tc.Handshake() != nil {
			return
		}
		conn = tc
		if tc.ConnectionState().NegotiatedProtocol == "h2" {
			_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			_, _ = io.CopyN(io.Discard, conn, 9)
			return
		}
	}
	br := bufio.NewReader(conn)
	for range 1 + rand.IntN(6) {
		req := oddRequest()
		if rand.IntN(6) == 0 {
			req = req[:rand.IntN(len(req))]
		}
		if rand.IntN(3) == 0 {
			i := rand.IntN(len(req) + 1)
			_, _ = io.WriteString(conn, req[:i])
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			req = req[i:]
		}
		_, _ = io.WriteString(conn, req)
		switch rand.IntN(10) {
		case 0:
			_ = under.CloseWrite()
		case 1:
			_ = under.SetLinger(0)
			_ = under.Close()
			return
		case 2:
			continue // pipelines
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return
		}
		if resp.StatusCode == 101 {
			_, _ = br.ReadByte()
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

// TestChaosCounts: when odd clients and handlers are gone, no place is left taken.
func TestChaosCounts(t *testing.T) {
	const most = 60
	for _, tlsOn := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", tlsOn), func(t *testing.T) {
			startIt := startServer
			if tlsOn {
				startIt = startTLS
			}
			addr, srv := startIt(t, func(s *server.Server) {
				s.HTTP = http.HandlerFunc(anyPage)
				s.Limits.ConnsPerAddr, s.Limits.HTTPConns, s.Limits.Handshakes = most, 40, 50
				s.Limits.TLSHandshakes = 4
				s.Runtime.Loops, s.Runtime.Workers = 2, 4
				s.Timeouts.Handshake, s.Timeouts.Body, s.Timeouts.Write = 500*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond
				s.Timeouts.HTTPIdle = time.Second
				s.Upgrade = func(r *ws.Request) (server.Accept, error) {
					switch r.Path() {
					case "/slowhook":
						select {
						case <-r.Context().Done():
							return server.Accept{}, r.Context().Err()
						case <-time.After(15 * time.Millisecond):
						}
					case "/panichook":
						panic("hook")
					}
					return server.Accept{}, nil
				}
			})
			var all sync.WaitGroup
			end := time.Now().Add(time.Second)
			for range 40 {
				all.Go(func() {
					for time.Now().Before(end) {
						oddClient(addr, tlsOn)
					}
				})
			}
			all.Wait()
			eventually(t, "no http", func() bool { return srv.DrainProgress().HTTP == 0 })
			openConns(t, srv, 0)
			dialIt := dial
			if tlsOn {
				dialIt = dialTLS
			}
			for range 3 {
				var cs []*client
				for range 38 {
					c := dialIt(t, addr)
					c.send(get("/"))
					c.expectPlain("GET / ")
					cs = append(cs, c)
				}
				for range most - 38 {
					cs = append(cs, dialIt(t, addr).upgraded())
				}
				for _, c := range cs {
					_ = c.Close()
				}
				eventually(t, "no http", func() bool { return srv.DrainProgress().HTTP == 0 })
				openConns(t, srv, 0)
			}
			st := srv.Stats()
			t.Logf("returned %d upgraded %d handed %+v", st.Returned, st.Upgraded, st.Workers)
		})
	}
}

// TestChaosClose: Close or Drain at any moment.
// TestChaosClose closes and drains in the midst of them: nothing hangs or is left.
func TestChaosClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for i := range partly(24) {
		tlsOn := i%2 == 0
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			startIt := startServer
			if tlsOn {
				startIt = startTLS
			}
			addr, srv := startIt(t, func(s *server.Server) {
				s.HTTP = http.HandlerFunc(anyPage)
				s.Runtime.Loops, s.Runtime.Workers = 2, 4
				s.Limits.ConnsPerAddr = 1000
				s.Upgrade = func(r *ws.Request) (server.Accept, error) {
					if r.Path() == "/slowhook" {
						select {
						case <-r.Context().Done():
						case <-time.After(15 * time.Millisecond):
						}
					}
					return server.Accept{}, nil
				}
			})
			var all sync.WaitGroup
			end := time.Now().Add(250 * time.Millisecond)
			for range 20 {
				all.Go(func() {
					for time.Now().Before(end) {
						oddClient(addr, tlsOn)
					}
				})
			}
			time.Sleep(time.Duration(100+rand.IntN(100)) * time.Millisecond)
			began := time.Now()
			if i%4 < 2 {
				_ = srv.Close()
			} else {
				if err := srv.Drain(t.Context(), server.DrainOptions{Timeout: 2 * time.Second}); err != nil {
					t.Log(err)
				}
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Error("took", took)
			}
			all.Wait()
			eventually(t, "all gone", func() bool { p := srv.DrainProgress(); return p.HTTP == 0 && p.Left == 0 })
		})
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before+3 })
	if n := runtime.NumGoroutine(); n > before+3 {
		b := make([]byte, 1<<20)
		t.Logf("%d, before %d\n%s", n, before, b[:runtime.Stack(b, true)])
	}
}
