package servertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/ws"
)

// Client is a WebSocket client of a Server. It answers pings, and checks what the
// server sends as RFC 6455 asks of a client.
type Client struct {
	t    testing.TB
	conn *simnet.Conn
	in   *bufio.Reader
	of   *Server

	subprotocol string
	end         *ws.CloseError // once the server has closed
	said        bool           // our close frame is out
}

// maxMessage bounds what a server may send in one message.
const maxMessage = 256 << 20

func newClient(s *Server, conn *simnet.Conn) *Client {
	s.t.Cleanup(func() { _ = conn.Close() }) // many tests have closed it
	return &Client{t: s.t, conn: conn, in: bufio.NewReader(conn), of: s}
}

// upgrade does the opening handshake.
func (c *Client) upgrade(r *ws.ClientRequest) error {
	c.t.Helper()
	c.patience()
	var random [16]byte
	binary.NativeEndian.PutUint64(random[:], rand.Uint64())
	key := ws.NewClientKey(random)
	c.write(r.Append(nil, key))
	var head []byte
	for {
		line, err := c.in.ReadBytes('\n')
		if err != nil {
			c.t.Fatalf("servertest: no answer to the upgrade: %v", err)
		}
		head = append(head, line...)
		if len(line) > len("\r\n") {
			continue
		}
		size, err := ws.SkipInterim(head)
		if err != nil || size < len(head) {
			c.subprotocol = subprotocolOf(head[size:])
			_, err = r.CheckResponse(head, key)
			return err
		}
	}
}

// subprotocolOf is what a response head selects.
func subprotocolOf(head []byte) string {
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return "" // as CheckResponse will say
	}
	return response.Header.Get("Sec-WebSocket-Protocol")
}

// Subprotocol is what the server has selected, "" for none.
func (c *Client) Subprotocol() string { return c.subprotocol }

// Send sends a message, text or binary, or a ping or pong.
func (c *Client) Send(op ws.Opcode, payload []byte) {
	c.t.Helper()
	var key [4]byte
	binary.NativeEndian.PutUint32(key[:], rand.Uint32())
	c.patience()
	c.write(ws.AppendMaskedFrame(nil, op, true, payload, key))
}

// SendText sends a text message.
func (c *Client) SendText(text string) {
	c.t.Helper()
	c.Send(ws.Text, []byte(text))
}

// SendBinary sends a binary message.
func (c *Client) SendBinary(payload []byte) {
	c.t.Helper()
	c.Send(ws.Binary, payload)
}

// SendJSON sends v as a text message in JSON.
func (c *Client) SendJSON(v any) {
	c.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		c.t.Fatalf("servertest: %v", err)
	}
	c.Send(ws.Text, text)
}

// Receive waits for the next message, text or binary.
func (c *Client) Receive() ws.Message {
	c.t.Helper()
	m := c.next()
	if m.Opcode == ws.Close {
		c.t.Fatalf("servertest: no message: %v", c.end)
	}
	return m
}

// ReceiveText is Receive for a text message.
func (c *Client) ReceiveText() string {
	c.t.Helper()
	m := c.Receive()
	if m.Opcode != ws.Text {
		c.t.Fatalf("servertest: %v message of %d bytes, want text", m.Opcode, len(m.Payload))
	}
	return string(m.Payload)
}

// ReceiveJSON is Receive for a message in JSON, into what v points to.
func (c *Client) ReceiveJSON(v any) {
	c.t.Helper()
	if err := c.Receive().JSON(v); err != nil {
		c.t.Fatalf("servertest: %v", err)
	}
}

// ExpectNothing waits until the server has handled all that was sent to it, and fails
// the test if it has sent c a message meanwhile, or closed the connection.
func (c *Client) ExpectNothing() {
	c.t.Helper()
	c.of.WaitIdle()
	for c.in.Buffered() > 0 || c.conn.Buffered() > 0 {
		m, ok := c.frame()
		if ok || c.end != nil {
			c.t.Fatalf("servertest: %v %.100q, want nothing", m.Opcode, m.Payload)
		}
		c.of.WaitIdle() // it was a ping
	}
}

// Close does the closing handshake: it sends a close frame, reads on, and returns what
// the server has answered.
func (c *Client) Close(code ws.Code, reason string) *ws.CloseError {
	c.t.Helper()
	c.sayClose(code, reason)
	return c.ReceiveClose()
}

// ReceiveClose waits until the server closes the connection, passing over messages, and
// returns how: with the code of its close frame, which is answered, or 1006 if there
// was none.
func (c *Client) ReceiveClose() *ws.CloseError {
	c.t.Helper()
	for c.end == nil {
		c.next()
	}
	if !c.said {
		code := c.end.Code
		if !code.Sendable() {
			code = ws.CodeNoStatus
		}
		c.sayClose(code, "")
	}
	_ = c.conn.Close() // the server has ended it, or is about to
	return c.end
}

// Abort ends the connection without a close frame.
func (c *Client) Abort() { _ = c.conn.Close() } // once is enough

func (c *Client) sayClose(code ws.Code, reason string) {
	var key [4]byte
	frame := ws.AppendClose(nil, code, reason)
	payload := frame[2:] // a control frame's header has two bytes
	c.said = true
	c.patience()
	_, _ = c.conn.Write(ws.AppendMaskedFrame(nil, ws.Close, true, payload, key)) // reading tells what came of it
}

// next is the next message, or the end.
func (c *Client) next() ws.Message {
	c.t.Helper()
	for {
		if m, ok := c.frame(); ok || c.end != nil {
			return m
		}
	}
}

// frame reads up to the end of a message or of a control frame; ok is false for one
// that is of no interest to the test.
func (c *Client) frame() (m ws.Message, ok bool) {
	c.t.Helper()
	c.patience()
	for {
		h, payload, err := c.readFrame()
		switch {
		case err != nil:
			c.end = &ws.CloseError{Code: ws.CodeAbnormal, Reason: err.Error()}
			return ws.Message{Opcode: ws.Close}, true
		case h.Opcode == ws.Close:
			code, reason := ws.ParseClose(payload)
			c.end = &ws.CloseError{Code: code, Reason: reason, Remote: true}
			return ws.Message{Opcode: ws.Close, Payload: payload}, true
		case h.Opcode == ws.Ping:
			c.Send(ws.Pong, payload)
			return m, false
		case h.Opcode == ws.Pong:
			return m, false
		case (h.Opcode == ws.Continuation) != (m.Opcode != 0):
			c.t.Fatalf("servertest: a %v frame in the wrong place", h.Opcode)
		case h.Opcode != ws.Continuation:
			m.Opcode = h.Opcode
		}
		m.Payload = append(m.Payload, payload...)
		switch {
		case len(m.Payload) > maxMessage:
			c.t.Fatalf("servertest: a message of more than %d bytes", maxMessage)
		case h.Fin:
			return m, true
		}
	}
}

// readFrame reads one frame. The error is that of the connection.
func (c *Client) readFrame() (h ws.FrameHeader, payload []byte, err error) {
	c.t.Helper()
	for size := 2; ; size++ {
		head, err := c.in.Peek(size)
		if err != nil {
			return h, nil, err
		}
		h, n, err := ws.ParseServerHeader(head)
		if err != nil || h.Length > maxMessage {
			c.t.Fatalf("servertest: a frame of %d bytes: %v", h.Length, err)
		}
		if n == 0 {
			continue
		}
		_, _ = c.in.Discard(n) // they were peeked
		payload = make([]byte, h.Length)
		_, err = io.ReadFull(c.in, payload)
		return h, payload, err
	}
}

// patience bounds the reads and writes to come.
func (c *Client) patience() {
	_ = c.conn.SetDeadline(time.Now().Add(Patience)) // or the next call tells that it is closed
}

func (c *Client) write(p []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatalf("servertest: %v", err)
	}
}
