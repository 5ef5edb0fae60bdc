package main_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Opcodes and the FIN bit, RFC 6455 section 5.2: the client here is made of bytes
// alone.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
	fin            = 0x80
)

// client is a raw WebSocket connection whose methods fail the test.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{conn, t, bufio.NewReader(conn)}
}

// upgrade asks for a WebSocket at path with further header lines and gives the
// status of the answer.
func (c *client) upgrade(path string, lines ...string) (status int) {
	c.t.Helper()
	host := c.RemoteAddr().String()
	if c.RemoteAddr().Network() == "unix" {
		host = "localhost"
	}
	c.write([]byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" +
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = resp.Body.Close() // a 101 has none, another status is all that is asked
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_ = c.Close() // or the server gives it two seconds to read why, also when it ends
	}
	return resp.StatusCode
}

// open is dial and an upgrade at /echo that must be accepted.
func open(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	if status := c.upgrade("/echo"); status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d, want 101", status)
	}
	return c
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// header is a frame's header with the mask bit and a zero mask.
func header(first byte, length int) []byte {
	switch {
	case length < 126:
		return []byte{first, 0x80 | byte(length), 0, 0, 0, 0}
	case length < 1<<16:
		return append(binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(length)), 0, 0, 0, 0)
	default:
		return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(length)), 0, 0, 0, 0)
	}
}

func (c *client) send(first byte, payload string) {
	c.t.Helper()
	c.write(append(header(first, len(payload)), payload...))
}

func (c *client) sendClose(code uint16, reason string) {
	c.t.Helper()
	c.send(fin|opClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func (c *client) read() (op byte, payload string) {
	c.t.Helper()
	head := make([]byte, 2)
	c.full(head)
	length := uint64(head[1])
	switch length {
	case 126:
		b := make([]byte, 2)
		c.full(b)
		length = uint64(binary.BigEndian.Uint16(b))
	case 127:
		b := make([]byte, 8)
		c.full(b)
		length = binary.BigEndian.Uint64(b)
	}
	if length > 1<<24 {
		c.t.Fatalf("frame of %d bytes", length)
	}
	b := make([]byte, length)
	c.full(b)
	return head[0] &^ fin, string(b)
}

func (c *client) full(b []byte) {
	c.t.Helper()
	if _, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) expect(op byte, payload string) {
	c.t.Helper()
	if gotOp, got := c.read(); gotOp != op || got != payload {
		c.t.Fatalf("frame %x of %d bytes %.60q, want %x, %d bytes %.60q", gotOp, len(got), got, op, len(payload), payload)
	}
}

// expectClose reads a close frame with the code and gives its reason.
func (c *client) expectClose(code uint16) (reason string) {
	c.t.Helper()
	op, payload := c.read()
	if op != opClose || len(payload) < 2 || binary.BigEndian.Uint16([]byte(payload)) != code {
		c.t.Fatalf("frame %x %.60q, want a close frame with %d", op, payload, code)
	}
	return payload[2:]
}

// expectEOF reads the end of the stream.
func (c *client) expectEOF() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("byte %x, error %v, want the end of the stream", b, err)
	}
}

// answerClose reads a close frame with the code, answers it and reads the end of
// the stream. It may be called beside the test's goroutine.
func (c *client) answerClose(code uint16) error {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(c.r, frame); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint16(frame[2:]); frame[0] != fin|opClose || got != code {
		return fmt.Errorf("frame % x, want a close frame with %d", frame, code)
	}
	if _, err := c.r.Discard(int(frame[1]) - 2); err != nil {
		return err
	}
	if _, err := c.Write(append(header(fin|opClose, 2), frame[2:]...)); err != nil {
		return err
	}
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("byte %x, error %w, want the end of the stream", b, err)
	}
	return nil
}
