package pollertest

import (
	"bytes"
	"errors"
	"io"
	"runtime"

	"github.com/millrace/millrace/poller"
)

var ioTests = []test{
	{"ReadTakesWhatIsThere", readTakesWhatIsThere},
	{"EmptyBuffers", emptyBuffers},
	{"FullSocketSaysAgainThenWritable", fullSocket},
	{"WritevKeepsOrder", writevKeepsOrder},
	{"WritevTakesPart", writevTakesPart},
	{"CloseWriteEndsOurDirectionOnly", closeWriteHalf},
	{"PeerMayEndItsDirectionOnly", peerHalfCloses},
	{"WriteToAClosedPeerFails", writeToClosedPeer},
	{"NoDelayBothWays", noDelay},
	{"NowIsMonotonic", nowIsMonotonic},
}

func readTakesWhatIsThere(b *bed) {
	c := b.added(7)
	p := make([]byte, 64)
	if n, err := b.engine.Read(c.fd, p); n != 0 || !errors.Is(err, poller.ErrAgain) {
		b.Fatalf("Read of nothing = %d, %v, want ErrAgain", n, err)
	}
	b.send(c.peer, "abcdef")
	if got := b.readFull(c.fd, 7, 4); string(got) != "abcd" {
		b.Fatalf("read %q", got)
	}
	if got := b.readFull(c.fd, 7, 2); string(got) != "ef" {
		b.Fatalf("read %q", got)
	}
	if n, err := b.engine.Read(c.fd, p); n != 0 || !errors.Is(err, poller.ErrAgain) {
		b.Fatalf("Read of nothing more = %d, %v, want ErrAgain", n, err)
	}
	b.closeFD(c.fd)
}

func emptyBuffers(b *bed) {
	c := b.added(7)
	calls := []struct {
		name string
		call func() (int, error)
	}{
		{"Read", func() (int, error) { return b.engine.Read(c.fd, nil) }},
		{"Write", func() (int, error) { return b.engine.Write(c.fd, nil) }},
		{"Writev of none", func() (int, error) { return b.engine.Writev(c.fd, nil) }},
		{"Writev of empty pieces", func() (int, error) { return b.engine.Writev(c.fd, make([][]byte, 3)) }},
	}
	for _, call := range calls {
		if n, err := call.call(); n != 0 || err != nil {
			b.Errorf("%s = %d, %v, want 0, nil", call.name, n, err)
		}
	}
	b.closeFD(c.fd)
}

// pattern is n bytes that differ from their neighbours.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// fill writes until the kernel takes no more and returns how much it took.
func (b *bed) fill(fd int, write func(p []byte) (int, error)) int {
	b.Helper()
	const most = 1 << 28 // no socket buffer holds that much
	p, sent := pattern(1<<16), 0
	for sent < most {
		n, err := write(p[sent%len(p):])
		if errors.Is(err, poller.ErrAgain) {
			if n != 0 {
				b.Fatalf("n = %d with ErrAgain", n)
			}
			return sent
		}
		b.must("Write", err)
		if n <= 0 {
			b.Fatalf("Write = %d, nil", n)
		}
		sent += n
	}
	b.Fatal("the socket never fills")
	return 0
}

func fullSocket(b *bed) {
	c := b.added(7)
	for range 3 {
		sent := b.fill(c.fd, func(p []byte) (int, error) { return b.engine.Write(c.fd, p) })
		b.wantPattern(b.receive(c.peer, sent))
		b.awaitReady(7, poller.Writable)
		if n, err := b.engine.Write(c.fd, []byte("x")); n != 1 || err != nil {
			b.Fatalf("Write after the peer has read = %d, %v", n, err)
		}
		b.receive(c.peer, 1)
	}
	b.closeFD(c.fd)
}

// wantPattern checks what fill wrote.
func (b *bed) wantPattern(got []byte) {
	b.Helper()
	p := pattern(1 << 16)
	for len(got) > 0 {
		n := min(len(got), len(p))
		if !bytes.Equal(got[:n], p[:n]) {
			b.Fatal("the bytes differ from what was written")
		}
		got = got[n:]
	}
}

func writevKeepsOrder(b *bed) {
	c := b.added(7)
	pieces, want := [][]byte{}, []byte{}
	for i := range 200 {
		piece := bytes.Repeat([]byte{byte(i)}, i%5) // empty ones too
		pieces, want = append(pieces, piece), append(want, piece...)
	}
	sent := 0
	for sent < len(want) {
		n, err := b.engine.Writev(c.fd, pieces)
		b.must("Writev", err)
		sent += n
		pieces = skip(pieces, n)
	}
	if got := b.receive(c.peer, len(want)); !bytes.Equal(got, want) {
		b.Fatalf("peer read % x", got)
	}
	b.closeFD(c.fd)
}

// skip returns the pieces behind their first n bytes. Leading empty ones go.
func skip(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n == 0 {
		return pieces
	}
	return append([][]byte{pieces[0][n:]}, pieces[1:]...)
}

func writevTakesPart(b *bed) {
	c := b.added(7)
	sent := b.fill(c.fd, func(p []byte) (int, error) {
		pieces := [][]byte{p[:len(p)/3], nil, p[len(p)/3 : len(p)/2], p[len(p)/2:]}
		return b.engine.Writev(c.fd, pieces)
	})
	b.wantPattern(b.receive(c.peer, sent))
	b.awaitReady(7, poller.Writable)
	b.closeFD(c.fd)
}

func closeWriteHalf(b *bed) {
	c := b.added(7)
	_, err := b.engine.Write(c.fd, []byte("bye"))
	b.must("Write", err)
	b.must("CloseWrite", b.engine.CloseWrite(c.fd))
	if got, err := io.ReadAll(c.peer); string(got) != "bye" || err != nil {
		b.Fatalf("peer read %q, %v", got, err)
	}
	b.send(c.peer, "reading goes on")
	if got := b.readFull(c.fd, 7, 15); string(got) != "reading goes on" {
		b.Fatalf("read %q", got)
	}
	b.closeFD(c.fd)
}

func peerHalfCloses(b *bed) {
	c := b.added(7)
	b.send(c.peer, "request")
	b.closeWrite(c.peer)
	if err := b.readError(c.fd, 7); err != io.EOF {
		b.Fatalf("Read: %v, want io.EOF", err)
	}
	_, err := b.engine.Write(c.fd, []byte("answer"))
	b.must("Write", err)
	if got := b.receive(c.peer, 6); string(got) != "answer" {
		b.Fatalf("peer read %q", got)
	}
	b.closeFD(c.fd)
}

// writeToClosedPeer: the first writes may still be taken.
func writeToClosedPeer(b *bed) {
	c := b.added(7)
	c.peer.Close()
	if err := b.readError(c.fd, 7); err != io.EOF {
		b.Fatalf("Read: %v, want io.EOF", err)
	}
	b.writeError(c.fd)
	b.closeFD(c.fd)
}

// writeError writes to a peer that is closed until an error comes.
func (b *bed) writeError(fd int) error {
	b.Helper()
	for range 1000 {
		_, err := b.engine.Write(fd, []byte("anybody there?"))
		if err != nil && !errors.Is(err, poller.ErrAgain) {
			return err
		}
		runtime.Gosched() // the reset is on its way
	}
	b.Fatal("writes to a closed peer go on without an error")
	return nil
}

func noDelay(b *bed) {
	c := b.added(7)
	for _, on := range []bool{false, true, true} {
		b.must("SetNoDelay", b.engine.SetNoDelay(c.fd, on))
	}
	b.closeFD(c.fd)
}

func nowIsMonotonic(b *bed) {
	before := b.engine.Now()
	if b.cfg.Advance != nil {
		b.cfg.Advance(b.engine, 5)
	}
	for range 1000 {
		now := b.engine.Now()
		if now < before {
			b.Fatalf("Now went back from %v to %v", before, now)
		}
		before = now
	}
}
