package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
)

// Opcodes and the FIN bit as RFC 6455 section 5.2 numbers them: the tests make
// and read frames by themselves.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
	fin            = 0x80
)

// clientKey and the accept value that belongs to it, RFC 6455 section 1.3.
const (
	clientKey = "dGhlIHNhbXBsZSBub25jZQ=="
	acceptKey = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// upgradeLines are the header lines of a valid upgrade request.
const upgradeLines = "Host: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + clientKey + "\r\n"

// upgradeRequest is a valid upgrade request, with further header lines.
func upgradeRequest(lines ...string) string {
	var b strings.Builder
	b.WriteString("GET / HTTP/1.1\r\n" + upgradeLines)
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	return b.String() + "\r\n"
}

// frame is a masked frame with the FIN bit.
func frame(op byte, payload string) string { return rawFrame(fin|op, payload) }

// fragment is a masked frame without it.
func fragment(op byte, payload string) string { return rawFrame(op, payload) }

// rawFrame is a masked frame with any first byte and the shortest length form.
func rawFrame(first byte, payload string) string {
	b := lengthBytes(first, 0x80, uint64(len(payload)))
	mask := [4]byte{0xa1, 0x00, 0x7f, 0x3c}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return string(b)
}

// lengthBytes are a frame's first byte and its length in the shortest form.
func lengthBytes(first, maskBit byte, length uint64) []byte {
	switch {
	case length < 126:
		return []byte{first, maskBit | byte(length)}
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16([]byte{first, maskBit | 126}, uint16(length))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, maskBit | 127}, length)
	}
}

// closePayload is the payload of a close frame.
func closePayload(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// client is a raw connection to the server. Its methods fail the test, also when
// nothing comes for as long as patience; a test whose bytes come slowly goes on.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // many tests have closed it
	return &client{Conn: conn, t: t, r: bufio.NewReader(patient{conn})}
}

// patient reads from a connection, and waits anew whenever somebody reads.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	_ = p.SetReadDeadline(time.Now().Add(patience)) // closed: Read tells
	return p.Conn.Read(b)
}

// dial connects to a server on real sockets.
func dial(t testing.TB, addr string) *client {
	t.Helper()
	return newClient(t, connect(t, addr))
}

// connect is dial for the bare connection, which stays the caller's to close.
func connect(t testing.TB, addr string) net.Conn {
	t.Helper()
	dialer, ok := dialers.Load(addr)
	if !ok {
		dialer = func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
	}
	conn, err := dialer.(func(string) (net.Conn, error))(addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// dialers are how addresses are dialed (func(addr string) (net.Conn, error)) that
// do not speak WebSocket on plain TCP.
var dialers sync.Map

// dialSim connects to a server on a network in memory.
func dialSim(t testing.TB, n *simnet.Network, addr string) *client {
	t.Helper()
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

// send writes text as it is. What it asks for may take as long as patience again.
func (c *client) send(text string) {
	c.t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience)) // closed: the write tells
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// upgraded sends a valid request and reads the 101.
func (c *client) upgraded(lines ...string) *client {
	c.t.Helper()
	c.send(upgradeRequest(lines...))
	c.expectSwitch()
	return c
}

// response reads a whole HTTP response and its body.
func (c *client) response() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("reading a response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("reading a response's body: %v", err)
	}
	return resp, string(body)
}

// expectSwitch reads the 101 response and checks what RFC 6455 section 4.2.2
// asks of it.
func (c *client) expectSwitch() *http.Response {
	c.t.Helper()
	resp, body := c.response()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("status %d (%q), want 101", resp.StatusCode, body)
	}
	h := resp.Header
	if !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "Upgrade") ||
		h.Get("Sec-WebSocket-Accept") != acceptKey {
		c.t.Fatalf("101 with %v", h)
	}
	if h.Get("Sec-WebSocket-Extensions") != "" {
		c.t.Fatalf("101 with extensions %q: none is supported", h.Get("Sec-WebSocket-Extensions"))
	}
	return resp
}

// expectRefusal reads one response with one of the statuses, then the end of the
// stream: no second response, no reset.
func (c *client) expectRefusal(statuses ...int) *http.Response {
	c.t.Helper()
	resp, body := c.response()
	for _, status := range statuses {
		if resp.StatusCode == status {
			if !resp.Close {
				c.t.Errorf("status %d without Connection: close", status)
			}
			c.expectEOF()
			return resp
		}
	}
	c.t.Fatalf("status %d (%q), want one of %v", resp.StatusCode, body, statuses)
	return nil
}

// frame reads one whole unmasked frame.
func (c *client) frame() (op byte, payload string) {
	c.t.Helper()
	head := make([]byte, 2, 8)
	c.full(head)
	if head[0]&0x70 != 0 || head[0]&fin == 0 || head[1]&0x80 != 0 {
		c.t.Fatalf("frame header %x: want FIN, no RSV, no mask", head)
	}
	op = head[0] &^ fin
	length := uint64(head[1])
	switch length {
	case 126:
		c.full(head)
		length = uint64(binary.BigEndian.Uint16(head))
	case 127:
		c.full(head[:8])
		length = binary.BigEndian.Uint64(head[:8])
	}
	return op, c.payload(length)
}

func (c *client) payload(length uint64) string {
	c.t.Helper()
	var b bytes.Buffer
	if _, err := io.CopyN(&b, c.r, int64(length)); err != nil {
		c.t.Fatalf("reading a payload of %d bytes: %v", length, err)
	}
	return b.String()
}

func (c *client) full(b []byte) {
	c.t.Helper()
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatalf("reading: %v", err)
	}
}

// expect reads one frame and compares it.
func (c *client) expect(op byte, payload string) {
	c.t.Helper()
	gotOp, got := c.frame()
	c.want(gotOp, got, op, payload)
}

// want fails the test when a frame that was read is another one.
func (c *client) want(gotOp byte, got string, op byte, payload string) {
	c.t.Helper()
	if gotOp != op || got != payload {
		c.t.Fatalf("frame %x %.80q (%d bytes), want %x %.80q (%d bytes)", gotOp, got, len(got), op, payload, len(payload))
	}
}

// expectClose reads a close frame with the code (1005: without one), and then, having
// ended its own direction as peers do then, the end of the stream.
func (c *client) expectClose(code uint16) (reason string) {
	c.t.Helper()
	op, payload := c.frame()
	if op != opClose {
		c.t.Fatalf("frame %x %.80q, want a close frame with %d", op, payload, code)
	}
	got := uint16(1005)
	if len(payload) >= 2 {
		got, reason = binary.BigEndian.Uint16([]byte(payload)), payload[2:]
	}
	if got != code || len(payload) == 1 {
		c.t.Fatalf("close frame with %d %q, want %d", got, reason, code)
	}
	c.done()
	c.expectEOF()
	return reason
}

// expectEOF reads the end of the stream: not a byte more, and no reset.
func (c *client) expectEOF() {
	c.t.Helper()
	b, err := c.r.ReadByte()
	if !errors.Is(err, io.EOF) {
		c.t.Fatalf("byte %x, error %v, want the end of the stream", b, err)
	}
}

// expectEnd reads the end of the stream or a reset: not a byte more.
func (c *client) expectEnd() {
	c.t.Helper()
	b, err := c.r.ReadByte()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("byte %x, error %v, want the end of the connection", b, err)
	}
}

// done ends the client's direction, if the server has not closed the connection, or
// sends a close frame where that can not be told.
func (c *client) done() {
	if conn, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = conn.CloseWrite()
		return
	}
	go func() { _, _ = io.WriteString(c.Conn, frame(opClose, "")) }() // a pipe's Write waits for a Read
}

// closeWrite ends the client's direction.
func (c *client) closeWrite() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatalf("CloseWrite: %v", err)
	}
}

// under is the connection below TLS.
func (c *client) under() net.Conn {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c.Conn
}

// reset ends the connection with a RST.
func (c *client) reset() {
	c.t.Helper()
	if conn, ok := c.under().(*simnet.Conn); ok {
		conn.Reset()
		return
	}
	conn := c.tcp()
	if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
		c.t.Fatalf("reset: %v", err)
	}
}

// tcp is the connection that carries c on real sockets.
func (c *client) tcp() *net.TCPConn { return c.under().(*net.TCPConn) }
