package pollertest

import (
	"io"

	"github.com/millrace/millrace/poller"
)

var registrationTests = []test{
	{"RemovedDescriptorIsSilentAndOpen", removedIsSilent},
	{"RemovedDescriptorCanMove", removedCanMove},
	{"CloseFDClosesAtOnce", closeFDCloses},
	{"ReusedNumberHasItsOwnToken", reusedNumber},
	{"ClosedPollerRefuses", closedPollerRefuses},
	{"CloseLeavesDescriptorsOpen", closeLeavesDescriptors},
}

func removedIsSilent(b *bed) {
	c, canary := b.added(7), b.added(8)
	b.must("Remove", b.poller.Remove(c.fd))
	// What was under way when it was removed comes before this.
	b.send(canary.peer, "1")
	b.awaitReady(8, poller.Readable)
	b.drain(canary.fd)

	b.send(c.peer, "still open")
	b.send(canary.peer, "2")
	b.await(b.poller, "the canary", func(e poller.Event) bool {
		if e.Token == 7 {
			b.Errorf("an event after Remove: %+v", e)
		}
		return e.Token == 8 && e.Ready&poller.Readable != 0
	})
	p := make([]byte, 64)
	n, err := b.engine.Read(c.fd, p)
	b.must("Read", err)
	if string(p[:n]) != "still open" {
		b.Errorf("read %q", p[:n])
	}
	b.must("Close", b.engine.Close(c.fd))
	b.closeFD(canary.fd)
}

func removedCanMove(b *bed) {
	c := b.added(7)
	b.must("Remove", b.poller.Remove(c.fd))
	b.send(c.peer, "x")
	other := b.newPoller()
	b.must("Add", other.Add(c.fd, 9))
	b.await(other, "the byte in the other poller", func(e poller.Event) bool {
		return e.Token == 9 && e.Ready&poller.Readable != 0
	})
	b.must("Remove", other.Remove(c.fd))
	b.must("Add again", b.poller.Add(c.fd, 10))
	b.awaitReady(10, poller.Readable)
	b.closeFD(c.fd)
}

func closeFDCloses(b *bed) {
	c := b.added(7)
	b.closeFD(c.fd)
	if n, err := c.peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		b.Fatalf("peer's Read = %d, %v, want io.EOF", n, err)
	}
}

// reusedNumber closes a descriptor that has events under way and gives its
// number, if the engine does reuse it, to another connection.
func reusedNumber(b *bed) {
	for round := range poller.Token(50) {
		old, next := 2*round, 2*round+1
		c := b.added(old)
		b.send(c.peer, "old")
		// Dialled first, lest the peer take the number that becomes free.
		d := pair{peer: b.dial()}
		b.closeFD(c.fd)
		d.fd = b.accept()
		b.must("Add under a number used before", b.poller.Add(d.fd, next))
		b.send(d.peer, "new")
		b.await(b.poller, "the new connection", func(e poller.Event) bool {
			if e.Token != old && e.Token != next {
				b.Fatalf("token %d is neither the old nor the new", e.Token)
			}
			return e.Token == next && e.Ready&poller.Readable != 0
		})
		if got := b.readFull(d.fd, next, 3); string(got) != "new" {
			b.Fatalf("read %q", got)
		}
		b.closeFD(d.fd)
	}
}

func closedPollerRefuses(b *bed) {
	p, err := b.engine.NewPoller()
	b.must("NewPoller", err)
	b.must("Close", p.Close())
	c := b.connect()
	if err := p.Add(c.fd, 1); err == nil {
		b.Error("Add to a closed poller: no error")
	}
	p.Wake()
	b.must("Close", b.engine.Close(c.fd))
}

func closeLeavesDescriptors(b *bed) {
	p, err := b.engine.NewPoller()
	b.must("NewPoller", err)
	c := b.connect()
	b.must("Add", p.Add(c.fd, 1))
	b.must("Close", p.Close())
	_, err = b.engine.Write(c.fd, []byte("open"))
	b.must("Write", err)
	if got := b.receive(c.peer, 4); string(got) != "open" {
		b.Errorf("peer read %q", got)
	}
	b.must("Close", b.engine.Close(c.fd))
}
