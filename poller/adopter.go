package poller

import "net"

// Adopter is an [Engine] that can accept from a listener of Go's net package.
type Adopter interface {
	Engine
	// Adopt gives a Listener with a copy of ln's descriptor, whose Close closes ln as well.
	// ln stays open until then, and nobody else should accept from it. Whoever makes the
	// socket block, as os.File's Fd does on a copy, makes no call here block for good.
	//
	// Only what has a descriptor of its own can be adopted: a type that wraps a listener may
	// do more in its Accept, and is ErrNotSupported (wrapped), as is a socket of datagrams.
	// A socket that does not listen is EINVAL (os.SyscallError, wrapped), one that is closed
	// net.ErrClosed (wrapped). After an error ln is as it was.
	Adopt(ln net.Listener) (Listener, error)
}
