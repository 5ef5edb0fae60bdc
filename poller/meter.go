package poller

import "time"

// Meter is an [Engine] that knows how far away a peer is.
type Meter interface {
	Engine
	// RTT is the system's smoothed round-trip time to the peer of a TCP
	// connection: to a proxy in front, if there is one. It is 0 while it is not
	// known, and an error of a descriptor that is none or has no such time.
	RTT(fd int) (time.Duration, error)
}
