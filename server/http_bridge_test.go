package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// hijackable is a ResponseWriter whose connection is conn.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// mountOn has srv take over conn, as if net/http had read a valid request.
func mountOn(srv *server.Server, conn net.Conn) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://example.com/", nil)
	r.RemoteAddr = "" // as on a Unix socket
	for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": clientKey} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(hijackable{w, conn}, r)
	return w
}

// startOnPipes starts a server whose clock the test moves. Its connections are
// pipes: what is written to one is not gone before it is read.
func startOnPipes(t *testing.T, configure func(*server.Server)) (n *simnet.Network, connect func() *client, srv *server.Server) {
	t.Helper()
	n = simnet.New(simnet.Config{})
	srv, l := prepare(t, n, configure)
	t.Cleanup(func() {
		closeServer(t, srv)
		eventually(t, "a Close for every Open", func() bool { return l.balanced() })
		eventually(t, "no connection is left", func() bool { return srv.Stats().Bridged == 0 })
	})
	return n, func() *client {
		near, far := net.Pipe()
		mountOn(srv, far)
		c := newClient(t, near)
		c.expectSwitch()
		return c
	}, srv
}

// TestBridgeWriteDeadline: a peer that takes a byte a second is cut, one that
// takes 16 KiB now and then is not.
func TestBridgeWriteDeadline(t *testing.T) {
	causes, conns := make(chan *ws.CloseError, 2), make(chan *server.Conn, 2)
	n, connect, srv := startOnPipes(t, func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message, close: closeCause(causes)}
		srv.Keepalive.Interval = -1
	})
	text := pattern(1, 200_000)
	t.Run("slow", func(t *testing.T) {
		c := connect()
		go func() { _, _ = io.WriteString(c.Conn, frame(opText, text)) }() // the test reads the echo
		conn, got := <-conns, 0
		for got < len(text)+10 {
			for want := got + 20_000; got < min(want, len(text)+10); got++ {
				if _, err := c.r.ReadByte(); err != nil {
					t.Fatalf("after %d bytes: %v", got, err)
				}
			}
			pieces := got / (16 << 10) * (16 << 10)
			if got == len(text)+10 {
				pieces = got // the last one is shorter
			}
			eventually(t, "it is noted", func() bool { return conn.Buffered() <= len(text)+10-pieces })
			n.Advance(10 * time.Second) // it may have been noted at the time of the step before
		}
		c.send(frame(opClose, closePayload(1000, "")))
		c.expectClose(1000)
		if cause := <-causes; cause.Code != ws.CodeNormal {
			t.Errorf("closed with %v, want 1000", cause)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		c := connect()
		go func() { _, _ = io.WriteString(c.Conn, frame(opText, text)) }() // as above
		if _, err := c.r.ReadByte(); err != nil {
			t.Fatal(err)
		}
		eventuallyOn(t, n, "the peer is cut", func() bool {
			select {
			case cause := <-causes:
				if cause.Code != ws.CodeAbnormal {
					t.Errorf("closed with %v, want 1006", cause)
				}
				return true
			default:
				return false
			}
		})
		eventually(t, "the pipe is closed", func() bool { return srv.Stats().Bridged == 0 })
		if _, err := io.Copy(io.Discard, c.r); err != nil {
			t.Errorf("reading to the end: %v", err)
		}
	})
}

// TestBridgeQueue: what a peer does not read is bounded, refused and told of, as
// on a descriptor.
func TestBridgeQueue(t *testing.T) {
	const maxQueue = 200_000
	for _, policy := range []server.QueuePolicy{server.CloseWhenFull, server.DropNewest} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			conns := make(chan *server.Conn, 1)
			causes := make(chan *ws.CloseError, 1)
			var drained atomic.Int32
			_, connect, _ := startOnPipes(t, func(srv *server.Server) {
				srv.Queue.Policy, srv.Queue.Max = policy, maxQueue
				srv.Handler = drainer{handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)}, &drained}
			})
			c := connect()
			conn := <-conns
			eventually(t, "Drained, of the 101", func() bool { return drained.Swap(0) > 0 })
			accepted, most := 0, 0
			err := error(nil)
			for err == nil {
				if err = conn.Send(ws.Binary, []byte(pattern(accepted, 3000))); err == nil {
					accepted++
				}
				most = max(most, conn.Buffered())
			}
			if !errors.Is(err, server.ErrQueueFull) || most > maxQueue || most < maxQueue-4000 {
				t.Errorf("%v with %d bytes in the queue, want ErrQueueFull at nearly %d", err, most, maxQueue)
			}
			if policy == server.CloseWhenFull {
				if cause := <-causes; cause.Code != ws.CodePolicy {
					t.Errorf("closed with %v, want 1008", cause)
				}
				op, payload := c.frame()
				for ; op == opBinary; op, payload = c.frame() {
					if len(payload) != 3000 {
						t.Fatalf("frame of %d bytes", len(payload))
					}
				}
				if op != opClose || payload[:2] != closePayload(1008, "") {
					t.Errorf("frame %x %q, want 1008", op, payload)
				}
				return
			}
			for i := range accepted {
				c.expect(opBinary, pattern(i, 3000))
			}
			eventually(t, "Drained", func() bool { return drained.Load() > 0 && conn.Buffered() == 0 })
			if err := conn.SendText("goes on"); err != nil {
				t.Errorf("Send after Drained: %v", err)
			}
			c.expect(opText, "goes on")
		})
	}
}

// TestBridgeKeepalive: a silent peer is pinged, and reaped.
func TestBridgeKeepalive(t *testing.T) {
	causes := make(chan *ws.CloseError, 1)
	conns := make(chan *server.Conn, 1)
	n, connect, srv := startOnPipes(t, func(srv *server.Server) {
		srv.Keepalive.Interval = 10 * time.Second
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }, close: closeCause(causes)}
	})
	c := connect()
	conn := <-conns
	for i := range 3 {
		eventually(t, "nothing waits to be sent", func() bool { return conn.Buffered() == 0 })
		pass(t, n, 12*time.Second+2*tickTime)
		c.expect(opPing, "")
		c.send(frame(opPong, ""))
		eventually(t, "the pong is read", func() bool { return srv.Stats().BytesIn == uint64(i+1)*6 })
	}
	eventuallyOn(t, n, "the peer is reaped", func() bool { return len(causes) > 0 })
	if cause := <-causes; cause.Code != ws.CodeAbnormal {
		t.Errorf("closed with %v, want 1006", cause)
	}
}

// TestBridgeShutdown closes politely, and those that do not answer at the end of
// Timeouts.Close.
func TestBridgeShutdown(t *testing.T) {
	causes := make(chan *ws.CloseError, 2)
	n, connect, srv := startOnPipes(t, func(srv *server.Server) { srv.Handler = handler{close: closeCause(causes)} })
	polite, rude := connect(), connect()
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	eventuallyOn(t, n, "the close frames are out", func() bool { return srv.Stats().States.Closing == 2 })
	for _, c := range []*client{polite, rude} {
		c.expect(opClose, closePayload(1001, "server shutting down"))
	}
	polite.send(frame(opClose, closePayload(1001, "")))
	polite.expectEOF()
	if w := mountOn(srv, nil); w.Code != 503 {
		t.Errorf("a request that comes too late got %d, want 503", w.Code)
	}
	eventuallyOn(t, n, "Shutdown to return", func() bool { return len(done) > 0 })
	rude.expectEOF()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestBridgeStopped: Close does not wait for a peer that reads nothing, and
// leaves nothing behind.
func TestBridgeStopped(t *testing.T) {
	before := runtime.NumGoroutine()
	conns := make(chan *server.Conn, 1)
	srv, l := prepare(t, simnet.New(simnet.Config{}), func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { conns <- c }}
	})
	var peers sync.WaitGroup
	for i := range 30 {
		near, far := net.Pipe()
		mountOn(srv, far)
		c := newClient(t, near)
		conn := <-conns
		switch i % 3 {
		case 0:
			c.expectSwitch()
			eventually(t, "nothing waits to be sent", func() bool { return conn.Buffered() == 0 })
			peers.Go(func() { c.expectClose(1001) })
		case 1:
			c.expectSwitch()
			if err := conn.Send(ws.Binary, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
		case 2: // it does not even read the 101
		}
	}
	var late sync.WaitGroup
	for range 4 { // some are let in, some are not
		late.Go(func() {
			for range 50 {
				near, far := net.Pipe()
				if w := mountOn(srv, far); w.Code == 503 {
					_ = far.Close()
				}
				_, _ = io.Copy(io.Discard, near) // until it is closed
			}
		})
	}
	go func() {
		for range conns { // of the late ones; the channel is never closed
		}
	}()
	closeServer(t, srv)
	late.Wait()
	peers.Wait()
	eventually(t, "a Close for every Open", func() bool { return l.balanced() })
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+1 })
}

// TestBridgeLimits: the bounds of connections hold, and free what they gave.
func TestBridgeLimits(t *testing.T) {
	for name, limit := range map[string]func(*server.Server){
		"in all":     func(srv *server.Server) { srv.Limits.Conns = 2 },
		"an address": func(srv *server.Server) { srv.Limits.ConnsPerAddr = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			addr, srv := startBridge(t, limit)
			first, second := dial(t, addr).upgraded(), dial(t, addr).upgraded()
			for range 3 {
				c := dial(t, addr)
				c.send(upgradeRequest())
				c.expectRefusal(503)
			}
			if s := srv.Stats(); s.Open != 2 || s.Bridged != 2 || s.Refusals[503] != 3 {
				t.Errorf("%+v", s)
			}
			for _, c := range []*client{first, second} {
				c.send(frame(opClose, ""))
				c.expectClose(1005)
			}
			eventually(t, "those are gone", func() bool { return srv.Stats().Open == 0 })
			dial(t, addr).upgraded()
		})
	}
}

// TestBridgePanics: a handler that panics ends its own connection.
func TestBridgePanics(t *testing.T) {
	for name, fail := range failures {
		for _, method := range []string{"Open", "Message", "Close"} {
			t.Run(name+" in "+method, func(t *testing.T) {
				addr, srv := startBridge(t, func(srv *server.Server) {
					f := failing{fail}
					srv.Handler, srv.Upgrade = f, f.upgrade
				})
				other := dial(t, addr).upgraded()
				c := dial(t, addr)
				c.send(strings.Replace(upgradeRequest(), "GET / ", "GET /"+method+" ", 1) + frame(opText, "now"))
				c.expectSwitch()
				if method == "Close" {
					c.expect(opText, "now")
					c.closeWrite()
					c.expectEnd()
				} else {
					c.expectClose(1011)
				}
				_ = c.Close() // it was closed properly
				other.send(frame(opText, "goes on"))
				other.expect(opText, "goes on")
				eventually(t, "one panic, one open", func() bool {
					s := srv.Stats()
					return s.Panics == 1 && s.Open == 1 && s.Bridged == 1
				})
			})
		}
	}
}

// oddConn is a connection that reads and writes as scripted.
type oddConn struct {
	net.Conn
	read  func(p []byte) (int, error)
	write func(p []byte) (int, error)
}

func (c oddConn) Read(p []byte) (int, error) {
	if c.read == nil {
		return c.Conn.Read(p)
	}
	return c.read(p)
}

func (c oddConn) Write(p []byte) (int, error) {
	if c.write == nil {
		return c.Conn.Write(p)
	}
	return c.write(p)
}

// TestBridgeOddConns: what io.Reader and io.Writer allow, and what they don't,
// ends in a Close.
func TestBridgeOddConns(t *testing.T) {
	last := frame(opText, "last") + frame(opClose, closePayload(1000, ""))
	for name, test := range map[string]struct {
		conn oddConn
		want []string
	}{
		"bytes with the end": {oddConn{read: func(p []byte) (int, error) { return copy(p, last), io.EOF }},
			[]string{"open", "1 last", "close 1000 theirs"}},
		"bytes with an error": {oddConn{read: func(p []byte) (int, error) { return copy(p, last[:len(last)-3]), errors.New("torn") }},
			[]string{"open", "1 last", "close 1006 ours"}},
		"never anything":    {oddConn{read: func([]byte) (int, error) { return 0, nil }}, []string{"open", "close 1006 ours"}},
		"an error":          {oddConn{read: func([]byte) (int, error) { return 0, errors.New("torn") }}, []string{"open", "close 1006 ours"}},
		"writes fail":       {oddConn{write: func([]byte) (int, error) { return 0, errors.New("torn") }}, []string{"open", "close 1006 ours"}},
		"writes nothing":    {oddConn{write: func([]byte) (int, error) { return 0, nil }}, []string{"open", "close 1006 ours"}},
		"writes fail later": {oddConn{write: func(p []byte) (int, error) { return 5, errors.New("torn") }}, []string{"open", "close 1006 ours"}},
	} {
		t.Run(name, func(t *testing.T) {
			rec := newRecorder(t)
			n, _, srv := startOnPipes(t, func(srv *server.Server) { srv.Handler = rec })
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, near) }() // ends with the pipe
			test.conn.Conn = far
			mountOn(srv, test.conn)
			rec.expect(test.want[:len(test.want)-1]...)
			eventuallyOn(t, n, "the end", func() bool { return srv.Stats().Bridged == 0 })
			rec.expect(test.want[len(test.want)-1])
			eventually(t, "the far side is closed", func() bool {
				_, err := far.Write(nil)
				return errors.Is(err, io.ErrClosedPipe)
			})
		})
	}
}

// TestBridgeLosesBytes: a connection whose far side has failed to write, and goes
// on to read, ends without waiting for the next thing to send.
func TestBridgeLosesBytes(t *testing.T) {
	rec := newRecorder(t)
	n, _, srv := startOnPipes(t, func(srv *server.Server) { srv.Handler, srv.Keepalive.Interval = rec, -1 })
	_, far := net.Pipe()
	failed := make(chan struct{})
	mountOn(srv, oddConn{Conn: far, write: func([]byte) (int, error) {
		close(failed)
		return 0, errors.New("torn")
	}})
	<-failed
	rec.expect("open")
	eventuallyOn(t, n, "the end", func() bool { return srv.Stats().Open == 0 })
	rec.expect("close 1006 ours")
}

// TestBridgeWithoutCloseWrite: where our direction can not be ended, the peer
// that was told why ends the connection, or we do.
func TestBridgeWithoutCloseWrite(t *testing.T) {
	n, connect, srv := startOnPipes(t, nil)
	for _, polite := range []bool{true, false} {
		c := connect()
		c.send(frame(3, "reserved"))
		op, payload := c.frame()
		if op != opClose || payload[:2] != closePayload(1002, "") {
			t.Errorf("frame %x %q, want 1002", op, payload)
		}
		if polite {
			_ = c.Close() // always nil
			eventually(t, "the end", func() bool { return srv.Stats().Open == 0 })
			continue
		}
		eventuallyOn(t, n, "the end", func() bool { return srv.Stats().Open == 0 })
		c.expectEOF()
	}
}

// TestBridgeNoDelay: Nagle's algorithm is set where there is one.
func TestBridgeNoDelay(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	configure := func(srv *server.Server) { srv.Handler = handler{open: func(c *server.Conn) { conns <- c }} }
	for name, start := range map[string]func(*testing.T, func(*server.Server)) (string, *server.Server){
		"wrapped": startBridge, "TLS": startTLSBridge,
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := start(t, configure)
			dial(t, addr).upgraded()
			conn := <-conns
			if err := errors.Join(conn.SetNoDelay(false), conn.SetNoDelay(true)); err != nil {
				t.Error(err)
			}
			if !conn.RemoteAddr().Addr().IsLoopback() {
				t.Errorf("RemoteAddr is %v", conn.RemoteAddr())
			}
		})
	}
	_, connect, _ := startOnPipes(t, configure)
	connect()
	conn := <-conns
	if err := conn.SetNoDelay(true); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("on a pipe: %v, want ErrUnsupported", err)
	}
	if conn.RemoteAddr().IsValid() {
		t.Errorf("RemoteAddr is %v", conn.RemoteAddr())
	}
}

// TestBaselineBridge opens and closes thousands of connections over bridges in
// all ways: nothing of them is left.
func TestBaselineBridge(t *testing.T) {
	for name, test := range map[string]struct {
		start func(*testing.T, func(*server.Server)) (string, *server.Server)
		times int
	}{
		"wrapped": {startBridge, 5000}, "TLS": {startTLSBridge, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			addr, srv := test.start(t, nil)
			life := func(i int) {
				c := client{Conn: connect(t, addr)}
				if err := c.tcp().SetLinger(0); err != nil { // no TIME_WAIT: ports are for others, too
					t.Fatal(err)
				}
				liveAndDie(t, c.Conn, 3+i%5, func() { _ = c.tcp().Close() })
			}
			life(0)
			before := descriptors(t)
			testBaseline(t, srv, scaled(test.times), life)
			eventually(t, "the descriptors are closed", func() bool { return descriptors(t) <= before+2 })
			eventually(t, "no connection is left", func() bool { return srv.Stats().Bridged == 0 })
		})
	}
}

// TestBridgeDeflate: compression is agreed upon and windows are given back.
func TestBridgeDeflate(t *testing.T) {
	for name, start := range map[string]func(*testing.T, func(*server.Server)) (string, *server.Server){
		"wrapped": startBridge, "stream": startStreams,
	} {
		t.Run(name, func(t *testing.T) {
			addr, srv := start(t, func(srv *server.Server) { srv.Deflate = bothTakeOver })
			c := dial(t, addr)
			c.send(upgradeRequest("Sec-WebSocket-Extensions: permessage-deflate"))
			resp, _ := c.response()
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); resp.StatusCode != 101 || !strings.HasPrefix(got, "permessage-deflate") {
				t.Fatalf("status %d, extensions %q", resp.StatusCode, got)
			}
			c.send(rawFrame(fin|0x40|opText, "\xf2\x48\xcd\xc9\xc9\x07\x00")) // Hello, RFC 7692 section 7.2.3.1
			c.expect(opText, "Hello")                                         // too short to be compressed
			c.send(frame(opClose, ""))
			c.expectClose(1005)
			eventually(t, "the windows are free", func() bool { s := srv.Stats(); return s.Windows == 0 && s.Open == 0 })
		})
	}
}
