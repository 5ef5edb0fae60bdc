// Package poller gives readiness and non-blocking I/O on raw descriptors. It
// knows nothing of WebSocket.
//
// # The contract
//
// An [Engine] is a way to reach a network: the kernel through epoll or kqueue,
// or the in-memory network of package simnet. Each engine is one file (or
// folder) and passes the one contract suite of package pollertest. An engine
// must define exactly what [Engine], [Poller] and [Listener] say, no more:
//
//   - A descriptor is added to one poller, once, for reading and writing
//     together and edge-triggered, and is never modified. An edge that is
//     reported is a hint: the truth is what Read or Write answers. Spurious
//     events are allowed, lost edges are not.
//   - Data, an end of stream or an error that is there before Add is reported
//     by the first Wait after it.
//   - An event carries the [Token] given to Add. An event that was under way
//     when its descriptor was removed may still be reported, with the old
//     token: callers put a generation in the token and drop what is stale.
//   - No call but Wait blocks.
//
// Unless a method says otherwise, it may be called from any goroutine.
package poller

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Token is what the caller knows a descriptor by; the poller only hands it
// back. millrace keeps a slot and a generation in it. The highest value is kept
// for the pollers themselves: Add may refuse it.
type Token uint64

// Ready says what a descriptor may be ready for; it is a hint, see the contract.
type Ready uint8

const (
	// Readable: bytes, an end of stream or an error wait to be read.
	Readable Ready = 1 << iota
	// Writable: the kernel takes bytes again.
	Writable
	// Hangup: the end of the stream or an error is known to be there, behind
	// what bytes there may be (EPOLLRDHUP, EPOLLHUP, EPOLLERR, EV_EOF): read on
	// past a short read, no further edge will tell. It comes with Readable.
	Hangup
)

// Event is one descriptor's readiness.
type Event struct {
	Token Token
	Ready Ready
}

var (
	// ErrAgain: nothing to do now, an event will tell (EAGAIN).
	ErrAgain = errors.New("poller: not ready")
	// ErrExhausted: the process or the machine is out of descriptors or
	// buffers (EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC); no event will tell
	// when that is over, so try again after a pause. Test it with errors.Is.
	ErrExhausted = errors.New("poller: out of descriptors or memory")
	// ErrClosed: the poller or the listener was closed.
	ErrClosed = errors.New("poller: closed")
	// ErrNotSupported: the operating system, or this kind of connection, has
	// no raw descriptors for this engine. Test it with errors.Is.
	ErrNotSupported = errors.New("poller: not supported")
)

// Poller waits for the readiness of many descriptors.
type Poller interface {
	// Add registers a non-blocking descriptor for reading and writing,
	// edge-triggered. After an error it is not registered.
	Add(fd int, t Token) error
	// Remove forgets a descriptor, which stays open.
	Remove(fd int) error
	// CloseFD forgets a descriptor and closes it, in the order and with the
	// calls the engine needs. The number may be reused at once.
	CloseFD(fd int) error
	// Wait fills events and returns how many, at most len(events). It blocks
	// until there is one, Wake is called, or timeout is over: 0 looks once,
	// below 0 means no timeout. It may return 0 events at any time, and goes
	// on by itself after EINTR. One goroutine at a time may wait.
	Wait(events []Event, timeout time.Duration) (int, error)
	// Wake makes the Wait under way, or else the next one, return soon. Wakes
	// before that Wait count as one. After Close it does nothing.
	Wake()
	// Close frees the poller, not the descriptors in it. No Wait may be under
	// way or follow.
	Close() error
}

// Listener is a listening descriptor; its FD goes into a Poller.
type Listener interface {
	FD() int
	Addr() net.Addr
	// Accept takes one connection off the queue: non-blocking, close-on-exec,
	// Nagle's algorithm off. ErrAgain when there is none, ErrExhausted (wrapped)
	// when the machine has no room, ErrClosed after Close. A connection that was
	// gone before it was taken is skipped (ECONNABORTED, EPROTO, EINTR).
	Accept() (fd int, remote netip.AddrPort, err error)
	// Close stops listening. The caller removes the FD from its poller first.
	Close() error
}

// Engine is a network and the pollers for it. All its methods may be called
// from any goroutine; on one descriptor, reading and writing may go on at once,
// but nothing may run beside the descriptor's closing.
type Engine interface {
	// Name is what New and --poller know the engine by.
	Name() string
	NewPoller() (Poller, error)
	// Listen opens a listener on network "tcp", "tcp4", "tcp6" or "unix", see
	// UnixEngine.
	Listen(network, address string) (Listener, error)
	// Read reads what is there: n > 0, or ErrAgain, or io.EOF at the end of the
	// stream, or the error (os.SyscallError). n < len(p) means no more bytes
	// were there at that moment; for the end of the stream see Hangup. Of an
	// empty p it reads nothing: 0, nil. Once a reset was told (ECONNRESET), reads
	// answer io.EOF and writes EPIPE.
	Read(fd int, p []byte) (n int, err error)
	// Write writes what the kernel takes, in part if need be: n > 0, or
	// ErrAgain, or the error. Never a SIGPIPE. Of an empty p: 0, nil.
	Write(fd int, p []byte) (n int, err error)
	// Writev is Write over several pieces, in order. It may take only the first
	// 64 of them.
	Writev(fd int, pieces [][]byte) (n int, err error)
	// CloseWrite ends our direction (FIN); reading goes on.
	CloseWrite(fd int) error
	// SetNoDelay turns Nagle's algorithm off (true, as accepted) or on.
	SetNoDelay(fd int, on bool) error
	// Close closes a descriptor that is in no poller.
	Close(fd int) error
	// Attach takes the descriptor out of a connection of Go's net package and
	// closes that connection; on an error c is untouched. TLS and other
	// wrapped connections are ErrNotSupported (wrapped).
	Attach(c net.Conn) (fd int, remote netip.AddrPort, err error)
	// Detach hands a descriptor that is in no poller to Go's net package. On an
	// error the descriptor is still the caller's.
	Detach(fd int) (net.Conn, error)
	// Now is the clock of all deadlines: monotonic, from an arbitrary start.
	Now() time.Duration
}
