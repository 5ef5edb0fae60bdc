package pollertest

import (
	"errors"
	"io"
	"time"

	"github.com/millrace/millrace/poller"
)

// gaugeTests are for the engines that are a [poller.Gauge].
var gaugeTests = []test{
	{"UnreadCountsWhatWasSent", unreadCounts},
	{"UnackedEndsAtNothing", unackedEnds},
	{"UnackedWhileThePeerReadsNothing", unackedOfASlowPeer},
	{"GaugesOfNoDescriptor", gaugesOfNoDescriptor},
}

func (b *bed) gauge() poller.Gauge {
	b.Helper()
	g, ok := b.engine.(poller.Gauge)
	if !ok {
		b.Skip("the engine is no Gauge")
	}
	return g
}

// unacked skips the test where the system does not tell.
func (b *bed) unacked(fd int) int {
	b.Helper()
	n, err := b.gauge().Unacked(fd)
	if errors.Is(err, poller.ErrNotSupported) {
		b.closeFD(fd)
		b.Skip("the system does not tell what is unacknowledged")
	}
	b.must("Unacked", err)
	return n
}

func (b *bed) unread(fd int) int {
	b.Helper()
	n, err := b.gauge().Unread(fd)
	b.must("Unread", err)
	return n
}

// wantUnread checks what waits to be read.
func (b *bed) wantUnread(fd, want int) {
	b.Helper()
	if n := b.unread(fd); n != want {
		b.Fatalf("Unread = %d, want %d", n, want)
	}
}

// eventually waits for what no event tells.
func (b *bed) eventually(what string, done func() bool) {
	b.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(time.Millisecond) {
		if done() {
			return
		}
	}
	b.Fatalf("not in %v: %s", patience, what)
}

func unreadCounts(b *bed) {
	b.gauge()
	c := b.added(7)
	b.wantUnread(c.fd, 0)
	b.send(c.peer, "abcdef")
	b.eventually("6 bytes unread", func() bool { return b.unread(c.fd) == 6 })
	b.readFull(c.fd, 7, 4)
	b.wantUnread(c.fd, 2)
	b.closeWrite(c.peer)
	b.awaitReady(7, poller.Hangup)
	b.wantUnread(c.fd, 2)
	b.readFull(c.fd, 7, 2)
	b.wantUnread(c.fd, 0)
	if err := b.readError(c.fd, 7); err != io.EOF {
		b.Fatalf("Read: %v, want io.EOF", err)
	}
	b.wantUnread(c.fd, 0)
	b.closeFD(c.fd)
}

func unackedEnds(b *bed) {
	b.gauge()
	c := b.added(7)
	atNothing := func() bool { return b.unacked(c.fd) == 0 }
	if !atNothing() {
		b.Fatal("of a new connection something is unacknowledged")
	}
	_, err := b.engine.Write(c.fd, []byte("abcdef"))
	b.must("Write", err)
	b.receive(c.peer, 6)
	b.eventually("the peer's end took all", atNothing)
	b.must("CloseWrite", b.engine.CloseWrite(c.fd))
	if got, err := io.ReadAll(c.peer); len(got) != 0 || err != nil {
		b.Fatalf("peer read %q, %v", got, err)
	}
	b.eventually("the peer's end took the end of the stream", atNothing)
	b.closeFD(c.fd)
}

// unackedOfASlowPeer writes far more than the peer's end has room for.
func unackedOfASlowPeer(b *bed) {
	b.gauge()
	c := b.added(7)
	sent := 0
	b.eventually("neither end takes more", func() bool {
		n := b.fill(c.fd, func(p []byte) (int, error) { return b.engine.Write(c.fd, p) })
		sent += n
		return n == 0
	})
	held := b.unacked(c.fd)
	if (held == 0) != b.cfg.AcksAtOnce || held < 0 || held > sent {
		b.Fatalf("Unacked = %d of %d bytes, none of which was read", held, sent)
	}
	b.receive(c.peer, sent/2)
	b.eventually("less is unacknowledged", func() bool { return b.cfg.AcksAtOnce || b.unacked(c.fd) < held })
	b.receive(c.peer, sent-sent/2)
	b.eventually("the peer's end took all", func() bool { return b.unacked(c.fd) == 0 })
	b.closeFD(c.fd)
}

func gaugesOfNoDescriptor(b *bed) {
	g := b.gauge()
	if n, err := g.Unacked(-1); err == nil {
		b.Errorf("Unacked of no descriptor = %d", n)
	}
	if n, err := g.Unread(-1); err == nil {
		b.Errorf("Unread of no descriptor = %d", n)
	}
}
