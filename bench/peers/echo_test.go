package peers_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// target is where a server listens, and how it wants to be spoken to.
type target struct {
	address      string
	tls, deflate bool
	origin       bool // it asks for its own
}

// client is a client of gorilla, and what is below it.
type client struct {
	*websocket.Conn
	wire *corked
}

// corked is a connection that can hold back what is written to it, and counts what
// is read.
type corked struct {
	net.Conn
	hold bool
	held []byte
	got  int
}

func (c *corked) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got += n
	return n, err
}

func (c *corked) Write(p []byte) (int, error) {
	if c.hold {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// connect opens a connection, with an origin that is not the server's if it may, on
// a path that no server knows of. It ends with the test.
func connect(t *testing.T, to target) client {
	t.Helper()
	var c client
	dialer := websocket.Dialer{
		WriteBufferSize:   1 << 10,
		EnableCompression: to.deflate,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		NetDial: func(network, address string) (net.Conn, error) {
			conn, err := net.Dial(network, address)
			c.wire = &corked{Conn: conn}
			return c.wire, err
		},
	}
	scheme := "ws://"
	if to.tls {
		scheme = "wss://"
	}
	header := http.Header{"Origin": {"http://elsewhere.example"}}
	if to.origin {
		header = nil
	}
	conn, response, err := dialer.Dial(scheme+to.address+"/some/path?and=query", header)
	if err != nil {
		t.Fatalf("the handshake: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	extensions := response.Header.Get("Sec-Websocket-Extensions")
	if to.deflate != strings.Contains(extensions, "permessage-deflate") {
		t.Errorf("deflate offered: %t; the server's extensions: %q", to.deflate, extensions)
	}
	c.Conn = conn
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	return c
}

func (c client) send(t *testing.T, kind int, message []byte) {
	t.Helper()
	if err := c.WriteMessage(kind, message); err != nil {
		t.Fatal(err)
	}
}

// expect reads a message, and compares it.
func (c client) expect(t *testing.T, kind int, message []byte) {
	t.Helper()
	gotKind, got, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	if gotKind != kind || !bytes.Equal(got, message) {
		t.Fatalf("got kind %d, %d bytes %.40q; want kind %d, %d bytes %.40q", gotKind, len(got), got, kind, len(message), message)
	}
}

// text is 1 MiB in which no part is like another.
var text = func() []byte {
	var b []byte
	for i := 0; len(b) < 1<<20; i++ {
		b = append(strconv.AppendInt(b, int64(i), 10), ' ')
	}
	return b
}()

func content(n int) []byte { return text[:n] }

func testMessages(t *testing.T, to target, shortest int) {
	c := connect(t, to)
	for _, n := range []int{shortest, 125, 126, 4096, 65535, 65536, 1 << 20, 10} {
		for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			c.send(t, kind, content(n))
			c.expect(t, kind, content(n))
		}
	}
}

// testFragments sends a message in some 200 frames, with a ping between them.
func testFragments(t *testing.T, to target) {
	c := connect(t, to)
	message := content(200 << 10)
	for range 2 {
		w, err := c.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		half := len(message) / 2
		_, err = w.Write(message[:half])
		err = errors.Join(err, c.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)))
		_, err2 := w.Write(message[half:])
		if err := errors.Join(err, err2, w.Close()); err != nil {
			t.Fatal(err)
		}
		c.expect(t, websocket.TextMessage, message)
	}
}

// testMany sends many messages in one write.
func testMany(t *testing.T, to target, shortest int) {
	c := connect(t, to)
	c.wire.hold = true
	for i := range 200 {
		c.send(t, websocket.BinaryMessage, content(shortest+i))
	}
	if _, err := c.wire.Conn.Write(c.wire.held); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		c.expect(t, websocket.BinaryMessage, content(shortest+i))
	}
}

// testSplit sends messages in pieces of 7 bytes, so that headers are split in
// all places, and each piece has time to be read alone.
func testSplit(t *testing.T, to target, shortest int) {
	c := connect(t, to)
	c.wire.hold = true
	sizes := []int{shortest, 5, 130, 1, 300, 2, 126}
	for _, n := range sizes {
		c.send(t, websocket.TextMessage, content(n))
	}
	for rest := c.wire.held; len(rest) > 0; {
		n := min(7, len(rest))
		if _, err := c.wire.Conn.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		time.Sleep(100 * time.Microsecond)
	}
	for _, n := range sizes {
		c.expect(t, websocket.TextMessage, content(n))
	}
}

// testPing sends a ping, and then messages until the pong is there, for it is
// only read in front of one.
func testPing(t *testing.T, to target) {
	c := connect(t, to)
	pong := ""
	c.SetPongHandler(func(payload string) error {
		pong = payload
		return nil
	})
	if err := c.WriteControl(websocket.PingMessage, []byte("are you there?"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for pong == "" {
		c.send(t, websocket.TextMessage, []byte("hello"))
		c.expect(t, websocket.TextMessage, []byte("hello"))
	}
	if pong != "are you there?" {
		t.Errorf("got a pong %q", pong)
	}
}

// testClose says goodbye: the server must too, and close the connection, as it is
// the side that does (RFC 6455, section 7.1.1).
func testClose(t *testing.T, to target) {
	c := connect(t, to)
	c.SetCloseHandler(func(int, string) error { return nil }) // the default would answer the answer
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye")
	if err := c.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Fatalf("got %v, want close code %d", err, websocket.CloseNormalClosure)
	}
	if n, err := c.wire.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the close frames: read %d bytes, %v; want EOF", n, err)
	}
}
