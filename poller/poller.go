// Package poller waits for many descriptors at once, and reads and writes them without
// blocking. It knows nothing of WebSocket.
//
//	engine, err := poller.New("") // the system's default
//	p, err := engine.NewPoller()
//	ln, err := engine.Listen("tcp", "127.0.0.1:8080")
//	err = p.Add(ln.FD(), token)
//	n, err := p.Wait(events, -1) // then ln.Accept, engine.Read, engine.Write
//
// An [Engine] is a way to reach a network: the kernel through epoll or kqueue, or the
// in-memory network of package simnet. What holds for all of them:
//
//   - Add a descriptor to one poller, once. It is watched for reading and writing,
//     edge-triggered, until it is removed.
//   - An event is a hint: Read or Write gives the truth. There may be spurious events,
//     but none is lost: read until ErrAgain or a short read (see Hangup), and write
//     until ErrAgain.
//   - Data, an end of stream or an error that is there before Add is reported by the
//     first Wait after it.
//   - An event carries the [Token] that was given to Add. It may still be reported
//     after its descriptor was removed: keep a generation in the token, and drop stale
//     events.
//   - No call but Wait blocks.
//
// Unless a method says otherwise, it may be called from any goroutine.
package poller

// The contract of an engine is the list above with the comments of Engine, Poller and
// Listener: it defines exactly these, no more. Each engine is one file (or folder) and
// passes the one suite of package pollertest.

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Token identifies a descriptor to the caller; the poller only hands it back. millrace
// keeps a slot and a generation in it. The highest value is reserved for the pollers:
// Add may refuse it.
type Token uint64

// Ready says what a descriptor may be ready for. It is a hint.
type Ready uint8

const (
	// Readable: bytes, an end of stream or an error wait to be read.
	Readable Ready = 1 << iota
	// Writable: the kernel takes bytes again.
	Writable
	// Hangup: the end of the stream or an error follows the bytes that wait
	// (EPOLLRDHUP, EPOLLHUP, EPOLLERR, EV_EOF). Read on past a short read: there
	// will be no further edge for it. It comes with Readable.
	Hangup
)

// Event is one descriptor's readiness.
type Event struct {
	Token Token
	Ready Ready
}

var (
	// ErrAgain: it would block; an event will come when it no longer does (EAGAIN).
	ErrAgain = errors.New("poller: not ready")
	// ErrExhausted: the process or the machine is out of descriptors or
	// buffers (EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC). No event comes when that
	// is over, so try again after a pause. Test it with errors.Is.
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
