package interop_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/ws"
)

// client is what the cases need of a library for clients in Go.
type client interface {
	// send sends a message, in as many frames as there are pieces.
	send(op ws.Opcode, pieces ...string) error
	receive() (op ws.Opcode, payload string, err error)
	// ping waits for the pong.
	ping() error
	// close does the closing handshake from this side.
	close(code ws.Code, reason string) error
	// closedWith reads on to the server's close frame.
	closedWith() (code ws.Code, reason string, err error)
	subprotocol() string
	abandon()
}

// dialer connects; the status is that of the server's answer.
type dialer func(url, origin string, subprotocols ...string) (c client, status int, err error)

// libraries are the clients in Go that the cases run with.
var libraries = map[string]dialer{"gorilla": dialGorilla, "coder": dialCoder}

// each runs a case with each library, connected to /echo.
func each(t *testing.T, run func(t *testing.T, p *peer, c client)) {
	for name, dial := range libraries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t)
			run(t, p, connect(t, dial, p.url+"/echo"))
		})
		t.Run(name+" with TLS", func(t *testing.T) {
			t.Parallel()
			p, _ := startSecurePeer(t, nil)
			run(t, p, connect(t, dial, p.url+"/echo"))
		})
		t.Run(name+" with TLS by net/http", func(t *testing.T) {
			t.Parallel()
			p, _ := startTLSPeer(t)
			run(t, p, connect(t, dial, p.url+"/echo"))
		})
	}
}

func connect(t *testing.T, dial dialer, url string, subprotocols ...string) client {
	t.Helper()
	c, status, err := dial(url, "", subprotocols...)
	if err != nil || status != 101 {
		t.Fatalf("dial: status %d, %v", status, err)
	}
	t.Cleanup(c.abandon)
	return c
}

func expect(t *testing.T, c client, op ws.Opcode, payload string) {
	t.Helper()
	gotOp, got, err := c.receive()
	if err != nil || gotOp != op || got != payload {
		t.Fatalf("received %v of %d bytes %.60q, %v; want %v of %d bytes %.60q", gotOp, len(got), got, err, op, len(payload), payload)
	}
}

func send(t *testing.T, c client, op ws.Opcode, pieces ...string) {
	t.Helper()
	if err := c.send(op, pieces...); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func TestEcho(t *testing.T) {
	each(t, func(t *testing.T, _ *peer, c client) {
		for _, size := range sizes {
			text := strings.Repeat("ß", size/2) + strings.Repeat("s", size%2)
			send(t, c, ws.Text, text)
			expect(t, c, ws.Text, text)
			bytes := strings.Repeat("\xff", size)
			send(t, c, ws.Binary, bytes)
			expect(t, c, ws.Binary, bytes)
		}
	})
}

func TestFragments(t *testing.T) {
	each(t, func(t *testing.T, _ *peer, c client) {
		const euro = "€" // its bytes are in different frames
		send(t, c, ws.Text, "a", euro[:1], euro[1:], "", "z")
		expect(t, c, ws.Text, "a€z")
		large := strings.Repeat("x", 70_000)
		send(t, c, ws.Binary, large, large, large)
		expect(t, c, ws.Binary, large+large+large)
	})
}

func TestPings(t *testing.T) {
	each(t, func(t *testing.T, _ *peer, c client) {
		if err := c.ping(); err != nil {
			t.Fatalf("ping: %v", err)
		}
		send(t, c, ws.Text, "ping:are you there?")
		expect(t, c, ws.Text, "pong:are you there?")
	})
}

func TestClientCloses(t *testing.T) {
	for _, code := range []ws.Code{1000, 1001, 1003, 1011, 3000, 4999} {
		each(t, func(t *testing.T, p *peer, c client) {
			if err := c.close(code, "bye, ädäm"); err != nil {
				t.Fatalf("close with %d: %v", code, err)
			}
			p.expectEnd(t, code, "bye, ädäm")
		})
	}
}

func TestServerCloses(t *testing.T) {
	for _, code := range []ws.Code{1000, 1001, 1008, 1011, 1012, 1013, 3000, 4999} {
		each(t, func(t *testing.T, p *peer, c client) {
			send(t, c, ws.Text, fmt.Sprintf("close:%d:enough", code))
			got, reason, err := c.closedWith()
			if err != nil || got != code || reason != "enough" {
				t.Errorf("closed with %d %q, %v; want %d", got, reason, err, code)
			}
		})
	}
}

func TestTooBig(t *testing.T) {
	each(t, func(t *testing.T, _ *peer, c client) {
		_ = c.send(ws.Binary, strings.Repeat("x", maxMessage+1)) // the server may have closed before it is out
		if code, _, err := c.closedWith(); err != nil || code != ws.CodeTooBig {
			t.Errorf("closed with %d, %v; want 1009", code, err)
		}
	})
}

func TestSubprotocol(t *testing.T) {
	for name, dial := range libraries {
		p := startPeer(t)
		for offers, want := range map[string]string{
			"chat.v1": "chat.v1", "chat.v1,chat.v2": "chat.v1", "other,chat.v2": "chat.v2", "other": "",
		} {
			c := connect(t, dial, p.url+"/echo", strings.Split(offers, ",")...)
			if got := c.subprotocol(); got != want {
				t.Errorf("%s offers %s: %q, want %q", name, offers, got, want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	p := startPeer(t)
	host := strings.TrimPrefix(p.url, "ws://")
	for name, dial := range libraries {
		for _, c := range []struct {
			path, origin string
			status       int
		}{
			{"/echo", "http://" + host, 101},
			{"/echo", "http://elsewhere.example", 403},
			{"/echo", "null", 403},
			{"/nowhere", "", 404},
		} {
			conn, status, err := dial(p.url+c.path, c.origin)
			if status != c.status || (err == nil) != (c.status == 101) {
				t.Errorf("%s, %s from %q: status %d, %v, want %d", name, c.path, c.origin, status, err, c.status)
			}
			if err == nil {
				conn.abandon()
			}
		}
	}
}

// TestConcurrentClients has 50 clients of each library at once, and each gets
// back its own messages in order.
func TestConcurrentClients(t *testing.T) {
	p := startPeer(t)
	var clients sync.WaitGroup
	for name, dial := range libraries {
		for i := range 50 {
			clients.Go(func() {
				if err := chat(dial, p.url+"/echo", fmt.Sprint(name, i)); err != nil {
					t.Errorf("%s %d: %v", name, i, err)
				}
			})
		}
	}
	clients.Wait()
}

func chat(dial dialer, url, tag string) error {
	c, _, err := dial(url, "")
	if err != nil {
		return err
	}
	defer c.abandon()
	for i := range 20 {
		message := fmt.Sprint(tag, " message ", i, strings.Repeat(".", i*100))
		if err := c.send(ws.Text, message); err != nil {
			return err
		}
		if _, got, err := c.receive(); err != nil || got != message {
			return fmt.Errorf("received %q, %w, want %q", got, err, message)
		}
	}
	return c.close(ws.CodeNormal, "")
}
