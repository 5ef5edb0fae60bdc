package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// The streams here are what a handler sees of HTTP/2 and nothing more: net/http's
// own client can not send an extended CONNECT. Real ones are in interop.

// startStreams is start for a server that is given streams of HTTP/2: each is a
// connection on which the client sends an upgrade request of HTTP/1.1, which
// reaches the server as an extended CONNECT, and reads a 101 where it said 200.
func startStreams(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	srv, l := prepare(t, systemEngine(t), configure)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var streams sync.WaitGroup
	streams.Go(func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			streams.Go(func() { serveStream(t, conn.(*net.TCPConn), srv) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // its error is that of an end
		closeServer(t, srv)
		streams.Wait()
		eventually(t, "a Close for every Open", func() bool { return l.balanced() })
	})
	return ln.Addr().String(), srv
}

func serveStream(t *testing.T, conn *net.TCPConn, h http.Handler) {
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		_ = conn.Close() // no request: the client has gone
		return
	}
	w := &streamWriter{t: t, conn: conn, header: http.Header{}}
	ctx, left := context.WithCancel(r.Context())
	defer left()
	if r.Header.Get("Upgrade") != "" {
		r.Method = http.MethodConnect
		r.Header.Set(":protocol", "websocket")
		r.Body, w.upgrade = io.NopCloser(in), true
	} else {
		go func() { // ends with the connection
			_, _ = io.Copy(io.Discard, in)
			left() // as net/http says that a stream is gone
		}()
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key"} {
		r.Header.Del(name)
	}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.RemoteAddr = conn.RemoteAddr().String()
	r = r.WithContext(context.WithValue(ctx, http.LocalAddrContextKey, conn.LocalAddr()))
	h.ServeHTTP(w, r)
	w.finish()
}

// streamWriter is the ResponseWriter of a stream.
type streamWriter struct {
	t        *testing.T
	conn     *net.TCPConn
	header   http.Header
	status   int
	upgrade  bool // a 200 is shown as a 101
	finished atomic.Bool
}

// use fails the test where net/http would panic.
func (w *streamWriter) use() {
	if w.finished.Load() {
		w.t.Error("the ResponseWriter is used after the handler has returned")
	}
}

func (w *streamWriter) Header() http.Header { return w.header }

func (w *streamWriter) WriteHeader(status int) {
	w.use()
	w.status = status
	if status == http.StatusOK && w.upgrade {
		status = http.StatusSwitchingProtocols
		w.header.Set("Upgrade", "websocket")
		w.header.Set("Connection", "Upgrade")
		w.header.Set("Sec-WebSocket-Accept", acceptKey)
	} else {
		w.header.Set("Connection", "close")
	}
	_, _ = fmt.Fprintf(w.conn, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status)) // a Write fails as well
	_ = w.header.Write(w.conn)
	_, _ = io.WriteString(w.conn, "\r\n")
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.use()
	if w.status == 0 {
		w.t.Error("written without a status")
	}
	return w.conn.Write(p)
}

func (w *streamWriter) Flush() { w.use() }
func (w *streamWriter) SetReadDeadline(at time.Time) error {
	w.use()
	return w.conn.SetReadDeadline(at)
}
func (w *streamWriter) SetWriteDeadline(at time.Time) error {
	w.use()
	return w.conn.SetWriteDeadline(at)
}

// finish ends the stream as HTTP/2 does, where no reset by what is unread can
// overtake what was written.
func (w *streamWriter) finish() {
	w.finished.Store(true)
	_ = w.conn.CloseWrite() // fails where the client is gone
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, w.conn)
	_ = w.conn.Close()
}
