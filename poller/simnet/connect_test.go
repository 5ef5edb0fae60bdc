package simnet_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

func TestConnectWithoutRoom(t *testing.T) {
	n := simnet.New(simnet.Config{MaxFDs: 2})
	_, l := listen(t, n)
	to := netip.MustParseAddrPort(l.Addr().String())
	nobody := netip.AddrPortFrom(to.Addr(), to.Port()+1)
	for range 3 { // a refused one takes no room
		if _, err := n.Connect(netip.Addr{}, nobody); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("Connect where nobody listens: %v, want ECONNREFUSED", err)
		}
	}
	fd, err := n.Connect(netip.Addr{}, to)
	must(t, err)
	if _, err := n.Connect(netip.Addr{}, to); !errors.Is(err, poller.ErrExhausted) {
		t.Fatalf("Connect = %v, want ErrExhausted", err)
	}
	must(t, n.Close(fd))
	if open := n.OpenFDs(); open != 1 {
		t.Errorf("%d descriptors are open, want the listener's", open)
	}
}

func TestConnectFromOneAddress(t *testing.T) {
	n := simnet.New(simnet.Config{})
	_, l := listen(t, n)
	local := netip.MustParseAddr("192.0.2.7")
	seen := map[netip.AddrPort]bool{}
	for range 100 {
		_, err := n.Connect(local, netip.MustParseAddrPort(l.Addr().String()))
		must(t, err)
		_, remote, err := l.Accept()
		must(t, err)
		if remote.Addr() != local || seen[remote] {
			t.Fatalf("remote = %v, want a new port of %v", remote, local)
		}
		seen[remote] = true
	}
}

func TestConnectToAListenerThatCloses(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	fd, err := n.Connect(netip.Addr{}, netip.MustParseAddrPort(l.Addr().String()))
	must(t, err)
	must(t, n.ConnectError(fd))
	must(t, p.Remove(l.FD()))
	must(t, l.Close())
	if err := n.ConnectError(fd); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ConnectError = %v, want ECONNRESET", err)
	}
	must(t, n.Close(fd))
	for call, err := range map[string]error{
		"ConnectError": n.ConnectError(fd), "ResetOnClose": n.ResetOnClose(fd),
	} {
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s of a closed descriptor: %v, want EBADF", call, err)
		}
	}
}
