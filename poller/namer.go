package poller

import "net/netip"

// Namer is an [Engine] that knows the address of a connection's own end.
type Namer interface {
	Engine
	// LocalAddr is the address that the peer of a TCP connection has reached: of this
	// machine, or of a proxy's connection to it. It is zero on a Unix socket, and an error
	// of a descriptor that is none.
	LocalAddr(fd int) (netip.AddrPort, error)
}
