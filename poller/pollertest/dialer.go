package pollertest

import (
	"errors"
	"net/netip"
	"runtime"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// dialerTests are for the engines that are a [poller.Dialer].
var dialerTests = []test{
	{"ConnectReachesAListener", connectReaches},
	{"RefusedPortIsReported", refusedPort},
	{"LocalAddressIsTheRemotesRemote", localAddress},
	{"AddressesOfTwoFamiliesFail", twoFamilies},
	{"ResetOnCloseResetsThePeer", resetOnClose},
	{"ManyConnectAtOnce", manyConnect},
}

func (b *bed) dialer() poller.Dialer {
	b.Helper()
	d, ok := b.engine.(poller.Dialer)
	if !ok {
		b.Skip("the engine is no Dialer")
	}
	return d
}

// listenerAddr is where the test's listener is.
func (b *bed) listenerAddr() netip.AddrPort {
	return netip.MustParseAddrPort(b.listener.Addr().String())
}

// awaitConnect waits for what becomes of a Connect that is in the test's poller.
func (b *bed) awaitConnect(fd int, t poller.Token) error {
	b.Helper()
	for {
		b.awaitReady(t, poller.Writable)
		if err := b.dialer().ConnectError(fd); !errors.Is(err, poller.ErrAgain) {
			return err
		}
	}
}

// connected connects to the test's listener, from the address local if it is
// valid, and adds both descriptors to the test's poller.
func (b *bed) connected(local netip.Addr, dialled, accepted poller.Token) (client, server int) {
	b.Helper()
	client, err := b.dialer().Connect(local, b.listenerAddr())
	b.must("Connect", err)
	b.must("Add", b.poller.Add(client, dialled))
	b.must("ConnectError", b.awaitConnect(client, dialled))
	server = b.accept()
	b.must("Add", b.poller.Add(server, accepted))
	return client, server
}

func connectReaches(b *bed) {
	d := b.dialer()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := b.engine.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			b.Logf("%s is not of this machine: %v", address, err)
			continue
		}
		b.must("Listen", err)
		to := netip.MustParseAddrPort(l.Addr().String())
		b.exchange(d, l, to)
		if to.Addr().Is4() {
			b.exchange(d, l, netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port()))
		}
		b.must("Listener.Close", l.Close())
	}
}

// exchange connects to a listener that is in no poller and sends both ways.
func (b *bed) exchange(d poller.Dialer, l poller.Listener, to netip.AddrPort) {
	b.Helper()
	b.must("Add", b.incoming.Add(l.FD(), 2))
	client, err := d.Connect(netip.Addr{}, to)
	b.must("Connect", err)
	b.must("Add", b.poller.Add(client, 7))
	b.must("ConnectError", b.awaitConnect(client, 7))
	b.must("ConnectError again", d.ConnectError(client))
	server, _ := b.acceptFrom(l)
	b.must("Remove", b.incoming.Remove(l.FD()))
	b.must("Add", b.poller.Add(server, 8))

	_, err = d.Write(client, []byte("question"))
	b.must("Write", err)
	if got := b.readFull(server, 8, 8); string(got) != "question" {
		b.Fatalf("the accepted end read %q", got)
	}
	_, err = d.Write(server, []byte("answer"))
	b.must("Write", err)
	if got := b.readFull(client, 7, 6); string(got) != "answer" {
		b.Fatalf("the connected end read %q", got)
	}
	b.closeFD(client)
	b.closeFD(server)
}

// refusedPort: some systems know at once that nobody listens on an address of
// their own, so Connect may tell.
func refusedPort(b *bed) {
	d := b.dialer()
	l, err := b.engine.Listen("tcp", "127.0.0.1:0")
	b.must("Listen", err)
	b.must("Listener.Close", l.Close())
	for range 5 {
		fd, err := d.Connect(netip.Addr{}, netip.MustParseAddrPort(l.Addr().String()))
		if err == nil {
			b.must("Add", b.poller.Add(fd, 7))
			err = b.awaitConnect(fd, 7)
			b.closeFD(fd)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			b.Fatalf("connecting where nobody listens: %v, want ECONNREFUSED", err)
		}
	}
}

func localAddress(b *bed) {
	d := b.dialer()
	local := netip.MustParseAddr("127.0.0.5")
	for range 2 {
		fd, err := d.Connect(local, b.listenerAddr())
		if errors.Is(err, syscall.EADDRNOTAVAIL) && runtime.GOOS != "linux" {
			b.Skip("only Linux has all of 127.0.0.0/8 by itself")
		}
		b.must("Connect", err)
		server, remote := b.acceptFrom(b.listener)
		if remote.Addr() != local || remote.Port() == 0 {
			b.Errorf("remote = %v, want a port of %v", remote, local)
		}
		b.must("Close", d.Close(fd))
		b.must("Close", d.Close(server))
	}
}

func twoFamilies(b *bed) {
	d := b.dialer()
	tests := []struct {
		local  netip.Addr
		remote netip.AddrPort
	}{
		{netip.MustParseAddr("::1"), b.listenerAddr()},
		{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort("[::1]:9")},
		{netip.Addr{}, netip.AddrPort{}},
	}
	for _, test := range tests {
		if fd, err := d.Connect(test.local, test.remote); !errors.Is(err, syscall.EAFNOSUPPORT) {
			b.Errorf("Connect(%v, %v) = %d, %v, want EAFNOSUPPORT", test.local, test.remote, fd, err)
		}
	}
}

func resetOnClose(b *bed) {
	d := b.dialer()
	client, server := b.connected(netip.Addr{}, 7, 8)
	b.must("ResetOnClose", d.ResetOnClose(client))
	b.closeFD(client)
	b.awaitReady(8, poller.Readable|poller.Hangup)
	b.wantReset(server, 8)
	b.closeFD(server)

	client, server = b.connected(netip.Addr{}, 9, 10) // an accepted one may do it too
	b.must("ResetOnClose", d.ResetOnClose(server))
	b.closeFD(server)
	b.awaitReady(9, poller.Readable|poller.Hangup)
	b.wantReset(client, 9)
	b.closeFD(client)
}

// manyConnect begins all connections before it looks at any.
func manyConnect(b *bed) {
	d := b.dialer()
	const many = 100 // what any system's backlog holds
	var clients, servers [many]int
	for i := range clients {
		fd, err := d.Connect(netip.Addr{}, b.listenerAddr())
		b.must("Connect", err)
		b.must("Add", b.poller.Add(fd, poller.Token(i)))
		clients[i] = fd
	}
	for i := range servers {
		servers[i] = b.accept()
		_, err := d.Write(servers[i], []byte{byte(i)})
		b.must("Write", err)
	}
	var made [many]bool
	for left := many; left > 0; {
		e := b.await(b.poller, "a connection made", func(e poller.Event) bool {
			return e.Ready&poller.Writable != 0 && !made[e.Token]
		})
		if err := d.ConnectError(clients[e.Token]); !errors.Is(err, poller.ErrAgain) {
			b.must("ConnectError", err)
			made[e.Token] = true
			left--
		}
	}
	var told [many]bool
	for i, fd := range clients {
		number := b.readFull(fd, poller.Token(i), 1)[0]
		if told[number] {
			b.Fatalf("accepted connection %d has two peers", number)
		}
		told[number] = true
		b.closeFD(fd)
		b.must("Close", d.Close(servers[number]))
	}
}
