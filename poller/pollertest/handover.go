package pollertest

import (
	"crypto/tls"
	"errors"
	"net"

	"github.com/millrace/millrace/poller"
)

var handOverTests = []test{
	{"AttachAndDetachKeepEveryByte", attachAndDetach},
	{"AttachedConnectionWaits", attachedWaits},
	{"AttachRefusesWrappers", attachRefuses},
}

// attachAndDetach has bytes under way at each change of hands.
func attachAndDetach(b *bed) {
	c := b.added(7)
	_, err := b.engine.Write(c.fd, []byte("one "))
	b.must("Write", err)

	fd, remote, err := b.engine.Attach(c.peer)
	b.must("Attach", err)
	if remote.String() != b.listener.Addr().String() {
		b.Errorf("remote = %v, want %v", remote, b.listener.Addr())
	}
	b.must("Add", b.poller.Add(fd, 8))
	if got := b.readFull(fd, 8, 4); string(got) != "one " {
		b.Fatalf("read %q", got)
	}
	_, err = b.engine.Write(fd, []byte("two "))
	b.must("Write", err)
	if got := b.readFull(c.fd, 7, 4); string(got) != "two " {
		b.Fatalf("read %q", got)
	}
	_, err = b.engine.Write(c.fd, []byte("three"))
	b.must("Write", err)

	b.must("Remove", b.poller.Remove(fd))
	peer, err := b.engine.Detach(fd)
	b.must("Detach", err)
	defer peer.Close()
	if got := b.receive(peer, 5); string(got) != "three" {
		b.Fatalf("peer read %q", got)
	}
	b.send(peer, "four")
	if got := b.readFull(c.fd, 7, 4); string(got) != "four" {
		b.Fatalf("read %q", got)
	}
	b.closeFD(c.fd)
}

// attachedWaits: an attached descriptor does not block.
func attachedWaits(b *bed) {
	c := b.added(7)
	fd, _, err := b.engine.Attach(c.peer)
	b.must("Attach", err)
	if _, err := b.engine.Read(fd, make([]byte, 1)); !errors.Is(err, poller.ErrAgain) {
		b.Fatalf("Read of nothing = %v, want ErrAgain", err)
	}
	if _, err := c.peer.Write([]byte("x")); err == nil {
		b.Error("the attached net.Conn can still be written to")
	}
	b.must("Close", b.engine.Close(fd))
	b.closeFD(c.fd)
}

// wrapper is a connection with something of its own above the descriptor.
type wrapper struct{ net.Conn }

func attachRefuses(b *bed) {
	c := b.added(7)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	for name, conn := range map[string]net.Conn{
		"net.Pipe":  near,
		"wrapper":   wrapper{c.peer},
		"*tls.Conn": tls.Client(c.peer, &tls.Config{ServerName: "millrace.test"}),
	} {
		if _, _, err := b.engine.Attach(conn); !errors.Is(err, poller.ErrNotSupported) {
			b.Errorf("Attach(%s) = %v, want ErrNotSupported", name, err)
		}
	}
	go near.Write([]byte("pipe"))
	if got := b.receive(far, 4); string(got) != "pipe" {
		b.Errorf("the pipe read %q", got)
	}
	b.send(c.peer, "untouched")
	if got := b.readFull(c.fd, 7, 9); string(got) != "untouched" {
		b.Errorf("read %q", got)
	}
	b.closeFD(c.fd)
}
