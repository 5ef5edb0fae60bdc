package poller

import (
	"errors"
	"net/netip"
)

// ErrNoPorts: the local address has no port left to reach the remote one from
// (EADDRNOTAVAIL). Connections that close free some, later; another local
// address has its own. Test it with errors.Is.
var ErrNoPorts = errors.New("poller: out of local ports")

// Dialer is an [Engine] that can also reach out. What [Engine] says of
// descriptors holds for those of Connect too.
type Dialer interface {
	Engine
	// Connect begins a TCP connection and returns its descriptor: non-blocking,
	// close-on-exec, Nagle's algorithm off. Added to a poller, it has a Writable
	// event when it is made or has failed; ConnectError tells which. Reading and
	// writing answer ErrAgain, or an error, until then.
	//
	// A zero local leaves the address to the system, as the port always is. It
	// is chosen for this remote, so that one local address reaches each remote
	// from all its ports (IP_BIND_ADDRESS_NO_PORT, where there is one). Both
	// addresses must be IPv4 (or IPv4 in IPv6), or both IPv6.
	//
	// An error leaves no descriptor behind: ErrNoPorts (wrapped), ErrExhausted
	// (wrapped), or what the system knows at once (os.SyscallError), which may be
	// any failure of a connection.
	Connect(local netip.Addr, remote netip.AddrPort) (fd int, err error)
	// ConnectError returns how far Connect's descriptor is: nil when the
	// connection is made, ErrAgain while it is on its way, or the reason for
	// which it failed (os.SyscallError). The reason is told once; close the
	// descriptor then.
	ConnectError(fd int) error
	// ResetOnClose makes the descriptor's closing send a reset, at once and with
	// all unsent bytes lost. The local port is free again then: no TIME_WAIT.
	ResetOnClose(fd int) error
}
