// Package pollertest is the one contract suite of all poller engines: what
// package poller promises, sentence by sentence. An engine that passes it can
// carry the server.
//
//	func TestContract(t *testing.T) {
//		pollertest.Run(t, pollertest.Config{New: newEngine, Dial: dial})
//	}
package pollertest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
)

// Config is how the suite reaches an engine and its peers.
type Config struct {
	// New makes an engine for one test; t.Cleanup may end it.
	New func(t *testing.T) poller.Engine
	// Dial connects to a listener of the engine (network "tcp", address
	// 127.0.0.1:0) and returns without waiting for Accept, as a kernel's queue
	// lets it. The connection must have CloseWrite() error.
	Dial func(t *testing.T, e poller.Engine, a net.Addr) net.Conn
	// Advance lets time go by where an engine's clock does not run by itself;
	// nil where it does.
	Advance func(e poller.Engine, d time.Duration)
	// AcksAtOnce says that bytes count as acknowledged as soon as they are sent,
	// read or not: Unacked of a poller.Gauge is always 0.
	AcksAtOnce bool
	// Many is how many connections the test of many takes; 0 is 2,000.
	Many int
}

// patience is when a test gives up on an event. It is no measurement: an engine
// that works never comes near it.
const patience = 20 * time.Second

// Run runs the whole suite, each test as a subtest with a new engine.
func Run(t *testing.T, cfg Config) {
	groups := []struct {
		name  string
		tests []test
	}{
		{"Events", eventTests},
		{"Registration", registrationTests},
		{"Wait", waitTests},
		{"IO", ioTests},
		{"Resets", resetTests},
		{"Listener", listenerTests},
		{"Unix", unixTests},
		{"Dialer", dialerTests},
		{"Meter", meterTests},
		{"Namer", namerTests},
		{"Gauge", gaugeTests},
		{"Adopter", adopterTests},
		{"HandOver", handOverTests},
		{"Concurrency", concurrencyTests},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) { test.run(newBed(t, cfg)) })
			}
		})
	}
}

// test is one sentence of the contract.
type test struct {
	name string
	run  func(*bed)
}

// bed is what one test works with: an engine, a poller and a listener, which
// has a poller of its own so that its events don't mix with the test's.
type bed struct {
	*testing.T
	cfg      Config
	engine   poller.Engine
	poller   poller.Poller
	listener poller.Listener
	incoming poller.Poller
}

func newBed(t *testing.T, cfg Config) *bed {
	b := &bed{T: t, cfg: cfg, engine: cfg.New(t)}
	b.poller = b.newPoller()
	b.incoming = b.newPoller()
	l, err := b.engine.Listen("tcp", "127.0.0.1:0")
	b.must("Listen", err)
	b.listener = l
	b.must("Add(listener)", b.incoming.Add(l.FD(), 1))
	t.Cleanup(func() {
		if err := b.incoming.Remove(l.FD()); err != nil {
			t.Errorf("Remove(listener): %v", err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("Listener.Close: %v", err)
		}
	})
	return b
}

func (b *bed) newPoller() poller.Poller {
	b.Helper()
	p, err := b.engine.NewPoller()
	b.must("NewPoller", err)
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Errorf("Poller.Close: %v", err)
		}
	})
	return p
}

func (b *bed) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// pair is a connection: our descriptor, in no poller, and its peer.
type pair struct {
	fd   int
	peer net.Conn
}

// connect makes a pair. What the test leaves open of it is closed at the end.
func (b *bed) connect() pair {
	b.Helper()
	peer := b.dial()
	return pair{fd: b.accept(), peer: peer}
}

// dial makes a connection that waits for accept.
func (b *bed) dial() net.Conn {
	b.Helper()
	peer := b.cfg.Dial(b.T, b.engine, b.listener.Addr())
	b.Cleanup(func() { peer.Close() })
	return peer
}

// added is connect with the descriptor in the test's poller.
func (b *bed) added(t poller.Token) pair {
	b.Helper()
	c := b.connect()
	b.must("Add", b.poller.Add(c.fd, t))
	return c
}

// accept waits for a connection.
func (b *bed) accept() int {
	b.Helper()
	fd, _ := b.acceptFrom(b.listener)
	return fd
}

// acceptFrom is accept of a listener that is in the poller for incoming ones,
// with the peer's address.
func (b *bed) acceptFrom(l poller.Listener) (int, netip.AddrPort) {
	b.Helper()
	for {
		fd, remote, err := l.Accept()
		if err == nil {
			return fd, remote
		}
		if !errors.Is(err, poller.ErrAgain) {
			b.Fatalf("Accept: %v", err)
		}
		b.await(b.incoming, "a connection", func(poller.Event) bool { return true })
	}
}

// await waits with p until an event satisfies done, and returns it.
func (b *bed) await(p poller.Poller, what string, done func(poller.Event) bool) poller.Event {
	b.Helper()
	// No timeout, but a Wake: the clock of the engine may stand still.
	giveUp := time.AfterFunc(patience, p.Wake)
	defer giveUp.Stop()
	events := make([]poller.Event, 1) // more would be lost behind the one that is done
	for began := time.Now(); time.Since(began) < patience; {
		n, err := p.Wait(events, -1)
		b.must("Wait", err)
		if n == 1 && done(events[0]) {
			return events[0]
		}
	}
	b.Fatalf("no event in %v: %s", patience, what)
	return poller.Event{}
}

// awaitReady waits for an event with this token and this readiness.
func (b *bed) awaitReady(t poller.Token, r poller.Ready) poller.Event {
	b.Helper()
	return b.await(b.poller, "expected readiness", func(e poller.Event) bool {
		return e.Token == t && e.Ready&r == r
	})
}

// readFull reads n bytes from a descriptor in the test's poller.
func (b *bed) readFull(fd int, t poller.Token, n int) []byte {
	b.Helper()
	got := make([]byte, 0, n)
	for len(got) < n {
		k, err := b.engine.Read(fd, got[len(got):n])
		if errors.Is(err, poller.ErrAgain) {
			b.awaitReady(t, poller.Readable)
			continue
		}
		b.must("Read", err)
		if k <= 0 {
			b.Fatalf("Read = %d, nil", k)
		}
		got = got[:len(got)+k]
	}
	return got
}

// readError reads a descriptor in the test's poller until an error comes.
func (b *bed) readError(fd int, t poller.Token) error {
	b.Helper()
	p := make([]byte, 4096)
	for {
		_, err := b.engine.Read(fd, p)
		if errors.Is(err, poller.ErrAgain) {
			b.awaitReady(t, poller.Readable)
			continue
		}
		if err != nil {
			return err
		}
	}
}

// drain reads until ErrAgain, so that the next byte is a new edge.
func (b *bed) drain(fd int) {
	b.Helper()
	p := make([]byte, 4096)
	for {
		if _, err := b.engine.Read(fd, p); err != nil {
			if !errors.Is(err, poller.ErrAgain) {
				b.Fatalf("Read: %v", err)
			}
			return
		}
	}
}

// send writes from the peer.
func (b *bed) send(peer net.Conn, p string) {
	b.Helper()
	_, err := io.WriteString(peer, p)
	b.must("peer's Write", err)
}

// receive reads what the peer is owed.
func (b *bed) receive(peer net.Conn, n int) []byte {
	b.Helper()
	peer.SetReadDeadline(time.Now().Add(patience))
	p := make([]byte, n)
	_, err := io.ReadFull(peer, p)
	b.must("peer's Read", err)
	return p
}

// closeWrite ends the peer's direction only.
func (b *bed) closeWrite(peer net.Conn) {
	b.Helper()
	b.must("peer's CloseWrite", peer.(interface{ CloseWrite() error }).CloseWrite())
}

// reset makes the peer tear the connection down: it closes with bytes unread,
// and without lingering where it can say so.
func (b *bed) reset(c pair) {
	b.Helper()
	_, err := b.engine.Write(c.fd, []byte("unread"))
	b.must("Write", err)
	b.receive(c.peer, 1)
	if l, ok := c.peer.(interface{ SetLinger(int) error }); ok {
		b.must("SetLinger", l.SetLinger(0))
	}
	c.peer.Close()
}

// closeFD closes a descriptor in the test's poller.
func (b *bed) closeFD(fd int) {
	b.Helper()
	b.must("CloseFD", b.poller.CloseFD(fd))
}
