package poller

// Gauge is an [Engine] that knows how many bytes of a connection the system
// holds, in each direction. After a reset neither number says anything: Linux
// keeps the last ones. Of a descriptor that is none both are errors.
type Gauge interface {
	Engine
	// Unacked is how many of the bytes that Write and Writev took the peer's
	// system has not acknowledged yet: a proxy's, if there is one in front. It
	// falls as that system takes them, and is 0 when it has all, whether the
	// peer has read them or not. A system may hold an acknowledgement back for
	// up to half a second, and on Linux a FIN counts as one byte.
	//
	// On a Unix socket nothing lies between the two ends. Linux tells the memory
	// of what the peer has not read, which is more than the bytes: only 0 is
	// exact. macOS and FreeBSD always tell 0. DragonFly has no such call on any
	// socket: ErrNotSupported.
	Unacked(fd int) (int, error)
	// Unread is how many bytes wait for Read. The end of the stream is none.
	Unread(fd int) (int, error)
}
