package pollertest

import (
	"errors"
	"io"
	"runtime"
	"syscall"

	"github.com/millrace/millrace/poller"
)

var resetTests = []test{
	{"ResetBeforeAddIsReported", resetBeforeAdd},
	{"ResetAfterAddIsReported", resetAfterAdd},
	{"WriterIsToldOfAReset", resetToldToWriter},
	{"ResetBehindTheEndEndsWritesOnly", resetBehindEnd},
}

func resetBeforeAdd(b *bed) {
	c := b.connect()
	b.reset(c)
	b.must("Add", b.poller.Add(c.fd, 7))
	b.awaitReady(7, poller.Readable|poller.Hangup)
	b.wantReset(c.fd, 7)
	b.closeFD(c.fd)
}

func resetAfterAdd(b *bed) {
	c := b.added(7)
	b.reset(c)
	b.awaitReady(7, poller.Readable|poller.Hangup)
	b.wantReset(c.fd, 7)
	b.closeFD(c.fd)
}

// wantReset reads from a descriptor in the test's poller that has nothing to
// read but a reset: it is told once.
func (b *bed) wantReset(fd int, t poller.Token) {
	b.Helper()
	if err := b.readError(fd, t); !errors.Is(err, syscall.ECONNRESET) {
		b.Fatalf("Read after a reset: %v, want ECONNRESET", err)
	}
	b.wantEnded(fd)
}

// wantEnded is for a descriptor whose owner knows of the reset.
func (b *bed) wantEnded(fd int) {
	b.Helper()
	for range 2 {
		if _, err := b.engine.Read(fd, make([]byte, 8)); err != io.EOF {
			b.Fatalf("Read after the reset was told: %v, want io.EOF", err)
		}
		if _, err := b.engine.Write(fd, []byte("x")); !errors.Is(err, syscall.EPIPE) {
			b.Fatalf("Write after the reset was told: %v, want EPIPE", err)
		}
	}
}

// onLinuxOnly is for what the BSDs tell in another order: there a write to what
// was reset is EPIPE, and the reset is kept for the next read.
func (b *bed) onLinuxOnly() {
	b.Helper()
	if runtime.GOOS != "linux" {
		b.Skip("resets are told in another order here")
	}
}

func resetToldToWriter(b *bed) {
	b.onLinuxOnly()
	c := b.added(7)
	b.reset(c)
	b.awaitReady(7, poller.Readable|poller.Hangup)
	if _, err := b.engine.Write(c.fd, []byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		b.Fatalf("Write after a reset: %v, want ECONNRESET", err)
	}
	b.wantEnded(c.fd)
	b.closeFD(c.fd)
}

// resetBehindEnd: who has read to the end has missed nothing. The first writes
// to the peer that is gone may still be taken.
func resetBehindEnd(b *bed) {
	b.onLinuxOnly()
	c := b.added(7)
	c.peer.Close()
	if err := b.readError(c.fd, 7); err != io.EOF {
		b.Fatalf("Read: %v, want io.EOF", err)
	}
	if err := b.writeError(c.fd); !errors.Is(err, syscall.EPIPE) {
		b.Fatalf("Write: %v, want EPIPE", err)
	}
	b.wantEnded(c.fd)
	b.closeFD(c.fd)
}
