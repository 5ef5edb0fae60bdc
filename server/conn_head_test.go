package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestHandshakeAccepted has an unusual handshake in each subtest, which ends in an open
// connection all the same.
func TestHandshakeAccepted(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, func(s *server.Server) { s.Limits.Head = 128 << 10 })
	long := strings.Repeat("a,", 32<<10)
	request := func(change ...string) string { return strings.NewReplacer(change...).Replace(upgradeRequest()) }
	for line, requests := range map[string][]string{
		"Connection: keep-alive, Upgrade": {
			request("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
			request("Connection: Upgrade", "Connection: ,, foo ,\t upgrade ,"),
		},
		"two Connection lines": {
			request("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
			request("Connection: Upgrade", "Connection: Upgrade\r\nConnection: keep-alive"),
		},
		"any letter case": {
			request("Connection: Upgrade", "CONNECTION: uPGRADE", "Upgrade: websocket", "upgrade: WebSocket",
				"Sec-WebSocket", "sec-websocket", "Host", "hOST"),
		},
		"empty line before the request": {"\r\n" + upgradeRequest()},
		"64 KiB of a,a,a,... in a list header": {
			request("Connection: Upgrade", "Connection: "+long+"Upgrade"),
			request("Upgrade: websocket", "Upgrade: "+long+"websocket"),
			upgradeRequest("Sec-WebSocket-Extensions: " + long + "a"),
		},
	} {
		t.Run(line, func(t *testing.T) {
			for _, r := range requests {
				c := dial(t, addr)
				c.send(r)
				c.expectSwitch()
				c.send(frame(opText, "open"))
				c.expect(opText, "open")
			}
		})
	}
}

// TestHandshakeSplit: "Request split at every byte; one byte a segment => 101".
func TestHandshakeSplit(t *testing.T) {
	t.Parallel()
	stream := upgradeRequest() + frame(opText, "behind") + frame(opClose, "")
	talk := func(c *client) {
		c.t.Helper()
		c.expectSwitch()
		c.expect(opText, "behind")
		c.expectClose(1005)
	}
	t.Run("at every byte", func(t *testing.T) {
		n, addr, _ := startSim(t, simnet.Config{}, nil)
		for i := 1; i < len(stream); i++ {
			c := dialSim(t, n, addr)
			c.send(stream[:i])
			idle(t, n)
			c.send(stream[i:])
			talk(c)
		}
	})
	t.Run("one byte a segment", func(t *testing.T) {
		n, addr, _ := startSim(t, simnet.Config{Script: simnet.OneByte}, nil)
		c := dialSim(t, n, addr)
		c.send(stream)
		talk(c)
	})
	t.Run("a byte a write", overTransports(func(t *testing.T, serve serving) {
		addr, _ := serve(t, nil)
		c := dial(t, addr)
		for i := range len(stream) {
			c.send(stream[i : i+1])
		}
		talk(c)
	}))
}

// TestFrameBehindRequest: "Frame in the request's own segment => 101, then the
// echo; frame and a half behind it => both delivered in the end".
func TestFrameBehindRequest(t *testing.T) {
	t.Parallel()
	first, second := frame(opText, "first"), frame(opBinary, strings.Repeat("second", 100))
	t.Run("a frame", overTransports(func(t *testing.T, serve serving) {
		addr, _ := serve(t, nil)
		c := dial(t, addr)
		c.send(upgradeRequest() + first)
		c.expectSwitch()
		c.expect(opText, "first")
	}))
	t.Run("a frame and a half", func(t *testing.T) {
		n, addr, _ := startSim(t, simnet.Config{}, nil)
		for i := 1; i < len(second); i++ {
			c := dialSim(t, n, addr)
			c.send(upgradeRequest() + first + second[:i])
			idle(t, n) // so that the half is read as one
			c.expectSwitch()
			c.expect(opText, "first")
			c.send(second[i:])
			c.expect(opBinary, strings.Repeat("second", 100))
			c.reset()
		}
	})
	t.Run("more than a read buffer", overTransports(func(t *testing.T, serve serving) {
		addr, _ := serve(t, nil)
		c := dial(t, addr)
		big := strings.Repeat("x", 200<<10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.Write([]byte(upgradeRequest() + frame(opText, big) + first)) // what is lost is missed below
		}()
		c.expectSwitch()
		c.expect(opText, big)
		c.expect(opText, "first")
		<-done
	}))
}

// TestSubprotocols: "Sec-WebSocket-Protocol over several lines => at most one
// chosen, none if none fits".
func TestSubprotocols(t *testing.T) {
	t.Parallel()
	onTransports(t, testSubprotocols)
}

func testSubprotocols(t *testing.T, serve serving) {
	t.Parallel()
	for _, test := range []struct {
		server string
		lines  []string
		want   string
	}{
		{"chat.v2 chat.v1", []string{"Sec-WebSocket-Protocol: chat.v1, chat.v2"}, "chat.v1"},
		{"chat.v2 chat.v1", []string{"Sec-WebSocket-Protocol: soap", "Sec-WebSocket-Protocol: chat.v2, chat.v1"}, "chat.v2"},
		{"chat.v2", []string{"Sec-WebSocket-Protocol: chat.v1", "Sec-WebSocket-Protocol: chat.v2"}, "chat.v2"},
		{"chat.v3", []string{"Sec-WebSocket-Protocol: chat.v1", "Sec-WebSocket-Protocol: chat.v2"}, ""},
		{"CHAT", []string{"Sec-WebSocket-Protocol: chat"}, ""}, // compared case-sensitively
		{"chat", nil, ""},
		{"", []string{"Sec-WebSocket-Protocol: chat"}, ""},
	} {
		t.Run(fmt.Sprintf("%q of %q", test.server, test.lines), func(t *testing.T) {
			seen := make(chan string, 1)
			addr, _ := serve(t, func(s *server.Server) {
				s.Subprotocols = strings.Fields(test.server)
				s.Handler = handler{open: func(c *server.Conn) { seen <- c.Subprotocol() }}
			})
			c := dial(t, addr)
			c.send(upgradeRequest(test.lines...))
			got := c.expectSwitch().Header.Values("Sec-WebSocket-Protocol")
			if len(got) > 1 || strings.Join(got, "") != test.want {
				t.Errorf("chosen on the wire: %q, want %q", got, test.want)
			}
			if got := <-seen; got != test.want {
				t.Errorf("Conn.Subprotocol() = %q, want %q", got, test.want)
			}
		})
	}
}

// TestDeflateOffers: "Deflate offer with server_max_window_bits 7/16/99, quoted,
// unknown or duplicate parameter => that offer declined". There is no deflate
// yet, so every offer is declined; "a second, valid offer => taken" comes with
// it.
func TestDeflateOffers(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, nil)
	for _, offer := range []string{
		"permessage-deflate",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=99",
		`permessage-deflate; server_max_window_bits="10"`,
		"permessage-deflate; unknown=1",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits=99, permessage-deflate; server_max_window_bits=12",
		"permessage-bzip2", "x-webkit-deflate-frame",
	} {
		t.Run(offer, func(t *testing.T) {
			c := dial(t, addr)
			c.send(upgradeRequest("Sec-WebSocket-Extensions: " + offer))
			c.expectSwitch() // without an extension
			c.send(frame(opText, "plain"))
			c.expect(opText, "plain")
			c.send(rawFrame(fin|0x40|opText, "compressed?")) // RSV1 without the extension
			c.expectClose(1002)
		})
	}
}

// TestResponseFields: what stands in the 101 is the server's and the hook's own,
// nothing of the request.
func TestResponseFields(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, nil)
	c := dial(t, addr)
	c.send(upgradeRequest("X-Echo: me", "Cookie: a=b", "Origin: http://example.com"))
	resp := c.expectSwitch()
	for name := range resp.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Upgrade", "Connection", "Sec-Websocket-Accept", "Date":
		default:
			t.Errorf("the 101 has %s: %q", name, resp.Header[name])
		}
	}
}
