package server_test

import (
	"net/netip"
	"strings"
	"testing"
)

// everybody is trusted.
var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// onOwnPort runs a test on the server's own port, with and without TLS, and on listeners
// whose connections no loop can watch.
func onOwnPort(t *testing.T, test func(t *testing.T, start starter)) {
	onBoth(t, test)
	t.Run("TLS on simnet", func(t *testing.T) { test(t, onTLSSimnet) })
	t.Run("TLS on sockets", func(t *testing.T) { test(t, onTLSSockets) })
	t.Run("wrapped listener", func(t *testing.T) { test(t, onWrapped) })
	t.Run("TLS listener", func(t *testing.T) { test(t, onTLSListener) })
}

// bridgedHere says how many of so many connections goroutines carry, in a test of
// onOwnPort's.
func bridgedHere(t *testing.T, of int64) int64 {
	if strings.HasSuffix(t.Name(), "listener") {
		return of
	}
	return 0
}

// onOwnPortSlowly is onOwnPort for what takes seconds of real time. With -short it is
// done once, on sockets.
func onOwnPortSlowly(t *testing.T, test func(t *testing.T, start starter)) {
	if testing.Short() {
		t.Run("sockets", func(t *testing.T) { test(t, onSockets) })
		return
	}
	onOwnPort(t, test)
}

// onOwnSockets is onOwnPort where all clients have one address.
func onOwnSockets(t *testing.T, test func(t *testing.T, start starter)) {
	t.Run("plain", func(t *testing.T) { test(t, onSockets) })
	t.Run("TLS", func(t *testing.T) { test(t, onTLSSockets) })
}
