//go:build linux || darwin || dragonfly || freebsd

package poller_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/millrace/millrace/poller"
	"golang.org/x/sys/unix"
)

// forEachDialer runs a test over every engine of this system, all of which are
// Dialers, with a listener on 127.0.0.1.
func forEachDialer(t *testing.T, test func(t *testing.T, d poller.Dialer, l poller.Listener)) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		l, err := e.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		test(t, e.(poller.Dialer), l)
	})
}

func addrPort(l poller.Listener) netip.AddrPort {
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestConnectedDescriptors(t *testing.T) {
	forEachDialer(t, func(t *testing.T, d poller.Dialer, l poller.Listener) {
		fd, err := d.Connect(netip.Addr{}, addrPort(l))
		if err != nil {
			t.Fatal(err)
		}
		wantQuiet(t, "connected", fd)
		if value, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || value == 0 {
			t.Errorf("TCP_NODELAY = %d, %v, want it on", value, err)
		}
		if err := d.ResetOnClose(fd); err != nil {
			t.Error(err)
		}
		if err := d.Close(fd); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"ConnectError": d.ConnectError(fd), "ResetOnClose": d.ResetOnClose(fd),
		} {
			if !errors.Is(err, syscall.EBADF) {
				t.Errorf("%s of a closed descriptor: %v, want EBADF", name, err)
			}
		}
	})
}

// TestConnectErrorBeforeConnect: an event that is early is no connection.
func TestConnectErrorBeforeConnect(t *testing.T) {
	forEachDialer(t, func(t *testing.T, d poller.Dialer, _ poller.Listener) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close(fd)
		if err := d.ConnectError(fd); err != poller.ErrAgain {
			t.Errorf("ConnectError = %v, want ErrAgain", err)
		}
	})
}

// TestSelfConnection connects a socket to itself, as the system may where the
// port that it chose is the one that nobody listens on.
func TestSelfConnection(t *testing.T) {
	forEachDialer(t, func(t *testing.T, d poller.Dialer, _ poller.Listener) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		self, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, self); err != nil {
			t.Skipf("no connection to itself here: %v", err)
		}
		if err := d.ConnectError(fd); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("ConnectError = %v, want ECONNREFUSED", err)
		}
	})
}

// foreign is no machine's address: it is reserved for documentation.
var foreign = netip.MustParseAddr("192.0.2.1")

// TestConnectFailures: what fails at once has its reason. TestExhausted holds
// that it leaves no descriptor behind.
func TestConnectFailures(t *testing.T) {
	forEachDialer(t, func(t *testing.T, d poller.Dialer, l poller.Listener) {
		tests := map[string]struct {
			local  netip.Addr
			remote netip.AddrPort
			want   error
		}{
			"ForeignLocal": {foreign, addrPort(l), syscall.EADDRNOTAVAIL},
			"UnknownZone":  {netip.Addr{}, netip.MustParseAddrPort("[fe80::1%nosuchdevice]:80"), nil},
			"TwoFamilies":  {netip.IPv6Loopback(), addrPort(l), syscall.EAFNOSUPPORT},
			"Nowhere":      {netip.Addr{}, netip.AddrPort{}, syscall.EAFNOSUPPORT},
		}
		for name, test := range tests {
			_, err := d.Connect(test.local, test.remote)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%s: Connect = %v, want %v", name, err, test.want)
			}
			if errors.Is(err, poller.ErrNoPorts) || errors.Is(err, poller.ErrExhausted) {
				t.Errorf("%s: Connect = %v, which says to wait or to take another address", name, err)
			}
		}
	})
}
