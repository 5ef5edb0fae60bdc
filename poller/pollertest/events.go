package pollertest

import (
	"bytes"
	"errors"
	"io"

	"github.com/millrace/millrace/poller"
)

var eventTests = []test{
	{"DataBeforeAddIsReported", dataBeforeAdd},
	{"EndBeforeAddIsReported", endBeforeAdd},
	{"RoomToWriteIsReportedAfterAdd", writableAfterAdd},
	{"EndAfterAddIsReported", endAfterAdd},
	{"HangupTellsOfTheEndBehindBytes", hangupBehindBytes},
	{"NoEdgeIsLost", noEdgeIsLost},
	{"TokensComeBackWhole", tokensComeBackWhole},
	{"MoreReadyThanEventsFit", moreReadyThanEvents},
	{"EachDescriptorHasItsToken", manyDescriptors},
}

func dataBeforeAdd(b *bed) {
	c := b.connect()
	b.send(c.peer, "early")
	b.must("Add", b.poller.Add(c.fd, 7))
	b.awaitReady(7, poller.Readable)
	if got := b.readFull(c.fd, 7, 5); string(got) != "early" {
		b.Fatalf("read %q", got)
	}
	b.closeFD(c.fd)
}

func endBeforeAdd(b *bed) {
	c := b.connect()
	c.peer.Close()
	b.must("Add", b.poller.Add(c.fd, 7))
	b.awaitReady(7, poller.Readable|poller.Hangup)
	if err := b.readError(c.fd, 7); err != io.EOF {
		b.Fatalf("Read: %v, want io.EOF", err)
	}
	b.closeFD(c.fd)
}

func writableAfterAdd(b *bed) {
	c := b.added(7)
	b.awaitReady(7, poller.Writable)
	b.closeFD(c.fd)
}

func endAfterAdd(b *bed) {
	c := b.added(7)
	c.peer.Close()
	b.awaitReady(7, poller.Readable|poller.Hangup)
	if err := b.readError(c.fd, 7); err != io.EOF {
		b.Fatalf("Read: %v, want io.EOF", err)
	}
	b.closeFD(c.fd)
}

// hangupBehindBytes reads as a server does: a short read means no more bytes,
// unless Hangup said that an end stands behind them.
func hangupBehindBytes(b *bed) {
	c := b.added(7)
	b.send(c.peer, "last words")
	b.closeWrite(c.peer)
	p, got, hangup := make([]byte, 64), []byte(nil), false
	for {
		e := b.awaitReady(7, poller.Readable)
		hangup = hangup || e.Ready&poller.Hangup != 0
		for {
			n, err := b.engine.Read(c.fd, p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				if string(got) != "last words" {
					b.Fatalf("read %q", got)
				}
				b.closeFD(c.fd)
				return
			}
			if errors.Is(err, poller.ErrAgain) {
				break
			}
			b.must("Read", err)
			if n < len(p) && !hangup {
				break
			}
		}
	}
}

// noEdgeIsLost sends each byte right after the one before was read and waits
// for its own event.
func noEdgeIsLost(b *bed) {
	c := b.added(7)
	b.drain(c.fd)
	for i := range 300 {
		b.send(c.peer, string(rune('a'+i%26)))
		b.awaitReady(7, poller.Readable)
		if got := b.readFull(c.fd, 7, 1); got[0] != byte('a'+i%26) {
			b.Fatalf("byte %d is %q", i, got)
		}
		if i%3 == 0 {
			b.drain(c.fd)
		}
	}
	b.closeFD(c.fd)
}

func tokensComeBackWhole(b *bed) {
	for _, t := range []poller.Token{0, 1, 1 << 31, 1 << 32, 1<<63 | 5, 0xDEADBEEF_80C0FFEE, ^poller.Token(1)} {
		c := b.added(t)
		b.send(c.peer, "x")
		b.awaitReady(t, poller.Readable)
		b.closeFD(c.fd)
	}
}

func moreReadyThanEvents(b *bed) {
	const ready = 5
	open := map[poller.Token]pair{}
	for t := range poller.Token(ready) {
		c := b.added(t)
		b.send(c.peer, "x")
		open[t] = c
	}
	seen := map[poller.Token]bool{}
	two := make([]poller.Event, 2)
	for len(seen) < ready {
		n, err := b.poller.Wait(two, -1)
		b.must("Wait", err)
		if n > len(two) {
			b.Fatalf("Wait filled %d of %d events", n, len(two))
		}
		for _, e := range two[:n] {
			if e.Ready&poller.Readable != 0 {
				seen[e.Token] = true
			}
		}
	}
	for _, c := range open {
		b.closeFD(c.fd)
	}
}

// manyDescriptors sends to each connection what only it should get.
func manyDescriptors(b *bed) {
	many := b.cfg.Many
	if many == 0 {
		many = 2000
	}
	pairs := make([]pair, many)
	for i := range pairs {
		pairs[i] = b.added(poller.Token(i))
	}
	for i, c := range pairs {
		b.send(c.peer, string([]byte{byte(i), byte(i >> 8), '!'}))
	}
	seen := make([]bool, many)
	for left := many; left > 0; {
		e := b.await(b.poller, "a message", func(e poller.Event) bool {
			return e.Ready&poller.Readable != 0 && !seen[e.Token]
		})
		i := int(e.Token)
		want := []byte{byte(i), byte(i >> 8), '!'}
		if got := b.readFull(pairs[i].fd, e.Token, 3); !bytes.Equal(got, want) {
			b.Fatalf("descriptor %d read %q, want %q", i, got, want)
		}
		seen[i] = true
		left--
	}
	for _, c := range pairs {
		b.closeFD(c.fd)
	}
}
