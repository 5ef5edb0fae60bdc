package server_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// Clients from the field that do not do as RFC 7692 has it, and what serves them.
const offerPlain = "permessage-deflate" // of Netty's and Apple's

var (
	eachByItself = &server.Deflate{}
	withTakeover = &server.Deflate{ServerTakeover: true, ClientTakeover: true}
)

func startDeflating(t *testing.T, d *server.Deflate) (n *simnet.Network, addr string) {
	t.Helper()
	n, addr, _ = startSim(t, simnet.Config{}, func(s *server.Server) { s.Handler, s.Deflate = echo{}, d })
	return n, addr
}

// TestDeflateOfIOS15: Apple's client of that time takes its context over although it is
// told not to. Without takeover the server keeps no window that the second message could
// refer to, and to keep one for each connection in case would cost 32 KiB; with takeover
// there is one.
func TestDeflateOfIOS15(t *testing.T) {
	t.Parallel()
	text := news(2000, 1)
	for _, offer := range []string{offerPlain, offerDeflate} {
		n, addr := startDeflating(t, withTakeover)
		c := dialDeflating(t, n, addr, offer)
		c.keeps = true // whatever the answer says
		for range 3 {
			c.sendPacked(opText, text, 0)
			c.expectMessage(opText, text)
		}

		n, addr = startDeflating(t, eachByItself)
		c = dialDeflating(t, n, addr, offer)
		if !strings.Contains(c.answer, "client_no_context_takeover") {
			t.Fatalf("the answer to %q is %q", offer, c.answer)
		}
		c.keeps = true
		c.sendPacked(opText, text, 0)
		c.expectMessage(opText, text)
		c.sendPacked(opText, text, 0)
		c.expectClose(1007)
	}
}

// TestDeflateOfNetty: Netty's client, as it is by default, fails the handshake if the
// answer has a no_context_takeover, which the server may put there without an offer
// (RFC 7692 section 7.1.1). With takeover the answer has none.
func TestDeflateOfNetty(t *testing.T) {
	t.Parallel()
	refuses := func(answer string) bool { return strings.Contains(answer, "no_context_takeover") }
	for _, offer := range []string{offerPlain, offerDeflate} {
		n, addr := startDeflating(t, eachByItself)
		if c := dialDeflating(t, n, addr, offer); !refuses(c.answer) {
			t.Errorf("without takeover it accepts %q", c.answer)
		}
		n, addr = startDeflating(t, withTakeover)
		c := dialDeflating(t, n, addr, offer)
		if c.answer == "" || refuses(c.answer) || strings.Contains(c.answer, "server_max_window_bits") { // it has asked for neither
			t.Fatalf("with takeover it refuses %q", c.answer)
		}
		for seed := range uint64(3) {
			c.sendPacked(opText, news(2000, seed), 0)
			c.expectMessage(opText, news(2000, seed))
		}
	}
}
