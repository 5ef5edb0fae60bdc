package load_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/millrace/millrace/ws"
)

// peer is a scripted server's end of one connection.
type peer struct {
	*net.TCPConn
	t       *testing.T
	number  int // among the connections, from 0
	in      *bufio.Reader
	request *http.Request   // once readRequest did
	keys    map[[4]byte]int // of its frames
	over    chan struct{}   // closed when the test ends
}

// scripted serves each connection with a script, in a goroutine of its own,
// until the test ends. When the script returns the connection closes.
func scripted(t *testing.T, script func(p *peer)) (url string) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	open := map[*net.TCPConn]bool{}
	over := make(chan struct{})
	all.Go(func() {
		for number := 0; ; number++ {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				script(&peer{TCPConn: c, t: t, number: number, in: bufio.NewReader(c), keys: map[[4]byte]int{}, over: over})
				mu.Lock()
				delete(open, c)
				mu.Unlock()
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		close(over)
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "ws://" + ln.Addr().String() + "/"
}

// readRequest reads the request's head; false says that the client has gone.
func (p *peer) readRequest() bool {
	request, err := http.ReadRequest(p.in)
	p.request = request
	return err == nil
}

// answer reads the request and answers with these bytes.
func (p *peer) answer(head string) {
	if p.readRequest() {
		p.send([]byte(head))
	}
}

// upgraded is the head of a right answer, with further header lines.
func (p *peer) upgraded(lines string) string {
	return upgraded(p.request.Header.Get("Sec-WebSocket-Key"), lines)
}

// upgraded is the head of a right answer to a request with that key.
func upgraded(key, lines string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n" + lines + "\r\n"
}

// upgrade accepts the client's request.
func (p *peer) upgrade() bool { return p.readRequest() && p.send([]byte(p.upgraded(""))) }

// send writes bytes; false says that the client has gone.
func (p *peer) send(b []byte) bool {
	_, err := p.Write(b)
	return err == nil
}

// next reads a frame, which must be one that a client may send. It is not ok once
// the client has gone.
func (p *peer) next() (op ws.Opcode, payload []byte, ok bool) {
	var head [2]byte
	var long [8]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, nil, false
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 == 0 {
		p.t.Errorf("a frame begins with %x: want it final and masked", head)
	}
	size := uint64(head[1] & 0x7f)
	if more := map[uint64]int{126: 2, 127: 8}[size]; more > 0 {
		_, _ = io.ReadFull(p.in, long[8-more:]) // the next read tells
		size = binary.BigEndian.Uint64(long[:])
	}
	var key [4]byte
	payload = make([]byte, size)
	_, _ = io.ReadFull(p.in, key[:]) // the next read tells
	if _, err := io.ReadFull(p.in, payload); err != nil {
		return 0, nil, false
	}
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	p.keys[key]++
	return ws.Opcode(head[0] & 0xf), payload, true
}

// echo answers each message as answer says, pings and all, until the client has
// closed or gone.
func (p *peer) echo(answer func(op ws.Opcode, payload []byte) []byte) {
	for {
		op, payload, ok := p.next()
		switch {
		case !ok:
			return
		case op == ws.Close:
			p.send(ws.AppendFrame(nil, ws.Close, payload))
			return
		case op == ws.Pong:
		case !p.send(answer(op, payload)):
			return
		}
	}
}

// whole is the answer of a good server.
func whole(op ws.Opcode, payload []byte) []byte { return ws.AppendFrame(nil, op, payload) }

// hold keeps the connection and reads nothing until the test ends.
func (p *peer) hold() { <-p.over }

// drop ends the connection with a reset.
func (p *peer) drop() {
	_ = p.SetLinger(0)
	_ = p.Close()
}
