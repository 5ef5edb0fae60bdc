package interop_test

// What is deprecated here has no equal: net/http's own client refuses to send an
// extended CONNECT, and of what this server sends ReadFrame may take all.
//lint:file-ignore SA1019 see above

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"

	_ "github.com/millrace/millrace/server/xconnect"
)

// WebSockets over HTTP/2 (RFC 8441) through net/http: with golang.org/x/net's
// client, and frame by frame with its framer. The WebSocket frames are gobwas's.

// expectClose reads a close frame.
func (s *stream) expectClose(t *testing.T, want gobwas.StatusCode) {
	t.Helper()
	f, err := gobwas.ReadFrame(s)
	if code, _ := gobwas.ParseCloseFrameData(f.Payload); err != nil || f.Header.OpCode != gobwas.OpClose || code != want {
		t.Fatalf("frame %v %q, %v; want a close frame with %d", f.Header, f.Payload, err, want)
	}
}

// startHTTP2 mounts a server in one of net/http that speaks HTTP/2.
func startHTTP2(t *testing.T, configure func(*server.Server)) (*httptest.Server, *server.Server) {
	t.Helper()
	srv := &server.Server{Handler: echo{}, Logger: slog.New(slog.DiscardHandler)}
	if configure != nil {
		configure(srv)
	}
	web := httptest.NewUnstartedServer(srv)
	web.EnableHTTP2 = true
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		web.Close()
		if s := srv.Stats(); s.Bridged != 0 {
			t.Errorf("%d streams are left after Close", s.Bridged)
		}
	})
	return web, srv
}

// echo is a Handler that keeps nothing.
type echo struct{}

func (echo) Open(*server.Conn)                    {}
func (echo) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // the client sees
func (echo) Close(*server.Conn, error)            {}

// http2Client is golang.org/x/net's, which keeps one connection.
func http2Client(t *testing.T) *http2.Transport {
	transport := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the test's own server
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// stream is a WebSocket's stream of HTTP/2.
type stream struct {
	io.Reader // what the server sends
	*io.PipeWriter
	resp *http.Response
}

// reset gives the stream up: RST_STREAM with CANCEL.
func (s *stream) reset() { _ = s.CloseWithError(context.Canceled) } // always nil

// open sends an extended CONNECT.
func open(t *testing.T, transport http.RoundTripper, url string, header http.Header) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	body, out := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return &stream{resp.Body, out, resp}
}

func (s *stream) send(t *testing.T, op gobwas.OpCode, payload string) {
	t.Helper()
	if _, err := s.Write(gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(op, true, []byte(payload))))); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func (s *stream) expect(t *testing.T, op gobwas.OpCode, payload string) {
	t.Helper()
	f, err := gobwas.ReadFrame(s)
	if err != nil || f.Header.OpCode != op || string(f.Payload) != payload {
		t.Fatalf("frame %v of %d bytes %.60q, %v; want %v %.60q", f.Header, len(f.Payload), f.Payload, err, op, payload)
	}
}

func (s *stream) expectEnd(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(s); err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes and %v, want the end of the stream", len(rest), err)
	}
}

// startEnding is startHTTP2, a client, and why connections end.
func startEnding(t *testing.T) (*httptest.Server, *http2.Transport, func(t *testing.T, code ws.Code, remote bool)) {
	ended := make(chan ws.CloseError, 1000)
	web, _ := startHTTP2(t, func(srv *server.Server) {
		srv.Handler, srv.Subprotocols = tester{ended}, []string{"chat.v2"}
	})
	return web, http2Client(t), func(t *testing.T, code ws.Code, remote bool) {
		t.Helper()
		if end := <-ended; end.Code != code || end.Remote != remote {
			t.Errorf("ended with %v", end)
		}
	}
}

func TestHTTP2(t *testing.T) {
	web, transport, expectEnd := startEnding(t)
	s := open(t, transport, web.URL, http.Header{"Sec-Websocket-Protocol": {"chat.v1, chat.v2"}, "Origin": {web.URL}})
	if s.resp.StatusCode != 200 || s.resp.ProtoMajor != 2 || s.resp.Header.Get("Sec-WebSocket-Protocol") != "chat.v2" {
		t.Errorf("%s %s with %v", s.resp.Proto, s.resp.Status, s.resp.Header)
	}
	for _, name := range []string{"Sec-WebSocket-Accept", "Connection", "Upgrade", "Content-Length", "Content-Type"} {
		if value, ok := s.resp.Header[http.CanonicalHeaderKey(name)]; ok {
			t.Errorf("%s: %s in the answer", name, value)
		}
	}
	for _, size := range sizes {
		payload := strings.Repeat("x", size)
		s.send(t, gobwas.OpText, payload)
		s.expect(t, gobwas.OpText, payload)
	}
	s.send(t, gobwas.OpPing, "between")
	s.expect(t, gobwas.OpPong, "between")
	s.send(t, gobwas.OpClose, string(gobwas.NewCloseFrameBody(3000, "bye")))
	s.expect(t, gobwas.OpClose, string(gobwas.NewCloseFrameBody(3000, "")))
	s.expectEnd(t)
	expectEnd(t, 3000, true)
}

// TestHTTP2OnOwnPort: a server's own TLS port gives HTTP/2 to net/http, and gets
// its WebSockets back.
func TestHTTP2OnOwnPort(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer web.Close()
	srv := &server.Server{
		Handler: echo{}, HTTP: http.NotFoundHandler(), TLSConfig: web.TLS, Logger: slog.New(slog.DiscardHandler),
	}
	srv.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, "", "") }()
	s := open(t, http2Client(t), "https://"+ln.Addr().String(), nil)
	s.send(t, gobwas.OpText, "hello")
	s.expect(t, gobwas.OpText, "hello")
	if n := srv.Stats().Bridged; n != 1 {
		t.Errorf("%d connections are bridged, want 1", n)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	s.expectClose(t, 1001)
	s.send(t, gobwas.OpClose, string(gobwas.NewCloseFrameBody(1001, "")))
	s.expectEnd(t)
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("ServeTLS: %v", err)
	}
}

func TestHTTP2Ends(t *testing.T) {
	web, transport, expectEnd := startEnding(t)
	t.Run("closed by the server", func(t *testing.T) {
		s := open(t, transport, web.URL, nil)
		s.send(t, gobwas.OpText, "close:4000:why")
		s.expect(t, gobwas.OpClose, string(gobwas.NewCloseFrameBody(4000, "why")))
		s.send(t, gobwas.OpClose, string(gobwas.NewCloseFrameBody(4000, "")))
		s.expectEnd(t)
		expectEnd(t, 4000, false)
	})
	t.Run("a bad frame", func(t *testing.T) {
		s := open(t, transport, web.URL, nil)
		s.send(t, 3, "reserved")
		s.expectClose(t, 1002)
		s.expectEnd(t)
		expectEnd(t, 1002, false)
	})
	t.Run("END_STREAM stands for a FIN", func(t *testing.T) {
		s := open(t, transport, web.URL, nil)
		s.send(t, gobwas.OpText, "last words")
		_ = s.Close() // always nil
		s.expect(t, gobwas.OpText, "last words")
		s.expectEnd(t)
		expectEnd(t, 1006, false)
	})
	t.Run("RST_STREAM stands for a reset", func(t *testing.T) {
		s := open(t, transport, web.URL, nil)
		s.send(t, gobwas.OpText, "half")
		s.expect(t, gobwas.OpText, "half")
		s.reset()
		expectEnd(t, 1006, false)
	})
}

func TestHTTP2Refused(t *testing.T) {
	web, transport, _ := startEnding(t)
	for want, header := range map[int]http.Header{
		400: {"Sec-Websocket-Version": {"8"}},
		403: {"Origin": {"https://evil.example"}},
		405: {":protocol": {"connect-udp"}},
	} {
		if s := open(t, transport, web.URL, header); s.resp.StatusCode != want {
			t.Errorf("status %d, want %d", s.resp.StatusCode, want)
		}
	}
	r, err := http.NewRequest("GET", web.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(r); err != nil || resp.StatusCode != 405 {
		t.Errorf("GET: %v, %v, want 405", resp, err)
	}
}

// TestHTTP2Streams runs a hundred WebSockets in one connection.
func TestHTTP2Streams(t *testing.T) {
	web, srv := startHTTP2(t, nil)
	transport := http2Client(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			s := open(t, transport, web.URL, nil)
			for j := range 20 {
				payload := strings.Repeat(fmt.Sprint(i, " ", j, " "), 1+100*j)
				if err := wsutil.WriteClientText(s, []byte(payload)); err != nil {
					t.Error(err)
					return
				}
				if got, err := wsutil.ReadServerText(s); err != nil || string(got) != payload {
					t.Errorf("%.40q, %v", got, err)
					return
				}
			}
			s.reset()
		})
	}
	all.Wait()
	waitFor(t, "all are gone", func() bool { s := srv.Stats(); return s.Open == 0 && s.Bridged == 0 })
}

// TestHTTP2NotReading: a peer whose windows are full is cut at the write deadline,
// and neither its connection's other streams nor the server's Close wait for it.
func TestHTTP2NotReading(t *testing.T) {
	ended := make(chan ws.CloseError, 10)
	conns := make(chan *server.Conn, 10)
	web, srv := startHTTP2(t, func(srv *server.Server) {
		srv.Handler, srv.Timeouts.Write, srv.Queue.Max = opener{tester{ended}, conns}, time.Second, 16<<20
	})
	transport := http2Client(t)
	handler := web.Config.Handler
	done := make(chan bool, 10)
	web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		done <- true
	})
	deaf := open(t, transport, web.URL, nil)
	conn := <-conns
	if err := conn.Send(ws.Binary, make([]byte, 16<<20)); err != nil { // more than x/net's window of 4 MiB
		t.Fatal(err)
	}
	other := open(t, transport, web.URL, nil)
	<-conns
	if end := <-ended; end.Code != 1006 {
		t.Errorf("ended with %v, want 1006", end)
	}
	other.send(t, gobwas.OpText, "goes on")
	other.expect(t, gobwas.OpText, "goes on")
	<-done
	if _, err := io.Copy(io.Discard, deaf); err == nil {
		t.Error("a stream that was cut has a proper end")
	}
	if s := srv.Stats(); s.Bridged != 1 || s.Open != 1 {
		t.Errorf("%+v, want the other one", s)
	}
}

// opener tells of each connection.
type opener struct {
	tester
	conns chan<- *server.Conn
}

func (o opener) Open(c *server.Conn) { o.conns <- c }

// TestHTTP2ConnectionLost: when the connection goes, so do all its streams.
func TestHTTP2ConnectionLost(t *testing.T) {
	ended := make(chan ws.CloseError, 100)
	web, srv := startHTTP2(t, func(srv *server.Server) { srv.Handler = tester{ended} })
	transport := http2Client(t)
	for range 20 {
		s := open(t, transport, web.URL, nil)
		s.send(t, gobwas.OpText, "hello")
		s.expect(t, gobwas.OpText, "hello")
	}
	web.CloseClientConnections()
	for range 20 {
		if end := <-ended; end.Code != 1006 {
			t.Errorf("ended with %v, want 1006", end)
		}
	}
	waitFor(t, "all are gone", func() bool { return srv.Stats().Bridged == 0 })
}

// TestHTTP2Shutdown: the server closes streams politely, then net/http ends.
func TestHTTP2Shutdown(t *testing.T) {
	web, srv := startHTTP2(t, nil)
	s := open(t, http2Client(t), web.URL, nil)
	done := make(chan error, 1)
	go func() { done <- errors.Join(srv.Shutdown(t.Context()), web.Config.Shutdown(t.Context())) }()
	s.expectClose(t, 1001)
	s.send(t, gobwas.OpClose, string(gobwas.NewCloseFrameBody(1001, "")))
	s.expectEnd(t)
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestHTTP2Baseline opens and ends thousands of streams in all ways: nothing of
// them is left.
func TestHTTP2Baseline(t *testing.T) {
	web, srv := startHTTP2(t, nil)
	transport := http2Client(t)
	life := func(i int) {
		s := open(t, transport, web.URL, nil)
		defer s.reset()
		if i%4 == 0 {
			return
		}
		s.send(t, gobwas.OpText, "hello")
		s.expect(t, gobwas.OpText, "hello")
		switch i % 4 {
		case 1:
			s.send(t, gobwas.OpClose, "")
			s.expect(t, gobwas.OpClose, "")
			s.expectEnd(t)
		case 2:
			_ = s.Close() // always nil
			s.expectEnd(t)
		}
	}
	gone := func() bool { s := srv.Stats(); return s.Open == 0 && s.Bridged == 0 }
	for i := range 100 {
		life(i)
	}
	waitFor(t, "all are gone", gone)
	before := runtime.NumGoroutine()
	for i := range 3000 {
		life(i)
	}
	waitFor(t, "all are gone", gone)
	waitFor(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+10 })
}

// framed is a connection of HTTP/2, frame by frame.
type framed struct {
	*http2.Framer
	t      *testing.T
	block  bytes.Buffer
	fields *hpack.Encoder
}

func dialFramed(t *testing.T, addr string) *framed {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test has seen what it wants
	c := &framed{Framer: http2.NewFramer(conn, conn), t: t}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fields = hpack.NewEncoder(&c.block)
	_, err = io.WriteString(conn, http2.ClientPreface)
	if err := errors.Join(conn.SetDeadline(time.Now().Add(patience)), err, c.WriteSettings()); err != nil {
		t.Fatal(err)
	}
	return c
}

// next reads the next frame of a stream.
func (c *framed) next() http2.Frame {
	c.t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if value, ok := f.Value(http2.SettingEnableConnectProtocol); !f.IsAck() && (!ok || value != 1) {
				c.t.Error("no SETTINGS_ENABLE_CONNECT_PROTOCOL")
			}
		case *http2.WindowUpdateFrame, *http2.PingFrame:
		default:
			return f
		}
	}
}

// connect opens a WebSocket.
func (c *framed) connect(id uint32) {
	c.t.Helper()
	c.block.Reset()
	for _, f := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":path", "/"}, {":authority", "example.com"},
		{"sec-websocket-version", "13"},
	} {
		_ = c.fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true}); err != nil {
		c.t.Fatal(err)
	}
	f, ok := c.next().(*http2.MetaHeadersFrame)
	if !ok || f.PseudoValue("status") != "200" || f.StreamEnded() {
		c.t.Fatalf("%v, want a 200 that goes on", f)
	}
}

func (c *framed) send(id uint32, f gobwas.Frame) {
	c.t.Helper()
	if err := c.WriteData(id, false, gobwas.MustCompileFrame(gobwas.MaskFrame(f))); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads a DATA frame.
func (c *framed) expect(data string, ends bool) {
	c.t.Helper()
	if f, ok := c.next().(*http2.DataFrame); !ok || f.StreamEnded() != ends || string(f.Data()) != data {
		c.t.Fatalf("%v, want DATA with %q, end of the stream: %v", f, data, ends)
	}
}

// TestHTTP2Frames looks at the frames of HTTP/2 themselves.
func TestHTTP2Frames(t *testing.T) {
	web, _ := startHTTP2(t, nil)
	c := dialFramed(t, web.Listener.Addr().String())
	t.Run("closing handshake", func(t *testing.T) {
		c.connect(1)
		c.send(1, gobwas.NewTextFrame([]byte("hello")))
		c.expect("\x81\x05hello", false)
		c.send(1, gobwas.NewCloseFrame(gobwas.NewCloseFrameBody(1000, "")))
		c.expect("\x88\x02\x03\xe8", false)
		c.expect("", true)
		// We have not ended our direction: RFC 9113 section 8.1.
		if f, ok := c.next().(*http2.RSTStreamFrame); !ok || f.ErrCode != http2.ErrCodeNo {
			t.Fatalf("%v, want RST_STREAM with NO_ERROR", f)
		}
	})
	t.Run("END_STREAM", func(t *testing.T) {
		c.connect(3)
		if err := c.WriteData(3, true, nil); err != nil {
			t.Fatal(err)
		}
		c.expect("", true)
	})
	t.Run("the connection goes on after a reset", func(t *testing.T) {
		c.connect(5)
		if err := c.WriteRSTStream(5, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		c.connect(7)
		c.send(7, gobwas.NewTextFrame([]byte("hello")))
		c.expect("\x81\x05hello", false)
	})
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
