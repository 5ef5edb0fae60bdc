package pollertest

import (
	"errors"
	"net"
	"net/netip"

	"github.com/millrace/millrace/poller"
)

var listenerTests = []test{
	{"AcceptSaysAgain", acceptSaysAgain},
	{"ConnectionIsAnEvent", connectionIsAnEvent},
	{"AcceptTakesEachOnce", acceptTakesEach},
	{"RemoteIsThePeersAddress", remoteIsThePeers},
	{"AcceptAfterCloseFails", acceptAfterClose},
	{"UnknownNetwork", unknownNetwork},
}

func acceptSaysAgain(b *bed) {
	for range 3 {
		if _, _, err := b.listener.Accept(); !errors.Is(err, poller.ErrAgain) {
			b.Fatalf("Accept = %v, want ErrAgain", err)
		}
	}
}

func connectionIsAnEvent(b *bed) {
	for range 10 {
		peer := b.dial()
		b.await(b.incoming, "a connection", func(e poller.Event) bool {
			return e.Token == 1 && e.Ready&poller.Readable != 0
		})
		b.must("Close", b.engine.Close(b.accept()))
		peer.Close()
	}
}

func acceptTakesEach(b *bed) {
	const dialled = 20
	open := map[int]bool{}
	for range dialled {
		b.dial()
	}
	for range dialled {
		fd := b.accept()
		if open[fd] {
			b.Fatalf("descriptor %d twice", fd)
		}
		open[fd] = true
	}
	acceptSaysAgain(b)
	for fd := range open {
		b.must("Close", b.engine.Close(fd))
	}
}

func remoteIsThePeers(b *bed) {
	peer := b.dial()
	b.await(b.incoming, "a connection", func(poller.Event) bool { return true })
	fd, remote, err := b.listener.Accept()
	b.must("Accept", err)
	if want := netip.MustParseAddrPort(peer.LocalAddr().String()); remote != want {
		b.Errorf("remote = %v, want %v", remote, want)
	}
	b.must("Close", b.engine.Close(fd))
}

func acceptAfterClose(b *bed) {
	l, err := b.engine.Listen("tcp", "127.0.0.1:0")
	b.must("Listen", err)
	if l.Addr().Network() != "tcp" || l.Addr().String() == "127.0.0.1:0" {
		b.Errorf("Addr = %s %v", l.Addr().Network(), l.Addr())
	}
	b.must("Add", b.poller.Add(l.FD(), 2))
	b.must("Remove", b.poller.Remove(l.FD()))
	b.must("Close", l.Close())
	if _, _, err := l.Accept(); !errors.Is(err, poller.ErrClosed) {
		b.Errorf("Accept after Close = %v, want ErrClosed", err)
	}
}

func unknownNetwork(b *bed) {
	_, err := b.engine.Listen("carrier pigeon", "127.0.0.1:0")
	var unknown net.UnknownNetworkError
	if !errors.As(err, &unknown) {
		b.Errorf("Listen = %v, want a net.UnknownNetworkError", err)
	}
}
