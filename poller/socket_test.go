//go:build linux || darwin || dragonfly || freebsd

package poller_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"golang.org/x/sys/unix"
)

// acceptOne waits for a connection on a listener.
func acceptOne(t testing.TB, l poller.Listener) (int, netip.AddrPort) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		fd, remote, err := l.Accept()
		if err == nil {
			return fd, remote
		}
		if !errors.Is(err, poller.ErrAgain) {
			t.Fatalf("Accept: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no connection")
	return -1, netip.AddrPort{}
}

// connect makes a connection over a listener of its own.
func connect(t testing.TB, e poller.Engine) (fd int, peer net.Conn) {
	t.Helper()
	l, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	fd, _ = acceptOne(t, l)
	return fd, peer
}

// wantQuiet checks that a descriptor neither blocks nor passes to children.
func wantQuiet(t *testing.T, what string, fd int) {
	t.Helper()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("%s: flags %#x, %v: want O_NONBLOCK", what, flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("%s: descriptor flags %#x, %v: want FD_CLOEXEC", what, flags, err)
	}
}

func TestDescriptorsAreQuiet(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		l, err := e.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		wantQuiet(t, "listener", l.FD())
		peer := dial(t, e, l.Addr())
		fd, _ := acceptOne(t, l)
		wantQuiet(t, "accepted", fd)
		attached, _, err := e.Attach(peer)
		if err != nil {
			t.Fatal(err)
		}
		wantQuiet(t, "attached", attached)
		c, err := e.Detach(attached)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(detached uintptr) { wantQuiet(t, "detached", int(detached)) })
		c.Close()
		e.Close(fd)
	})
}

func TestAcceptedHasNoDelay(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		fd, _ := connect(t, e)
		defer e.Close(fd)
		for _, on := range []bool{true, false, true} { // true first: as accepted
			value, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
			if err != nil || (value != 0) != on {
				t.Errorf("TCP_NODELAY = %d, %v, want %v", value, err, on)
			}
			if err := e.SetNoDelay(fd, !on); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestListenAddresses(t *testing.T) {
	tests := []struct{ network, address, dial, remote string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"tcp", ":0", "127.0.0.1", "127.0.0.1"}, // IPv4 in IPv6, unmapped
		{"tcp", ":0", "::1", "::1"},
		{"tcp", "[::1]:0", "::1", "::1"},
		{"tcp4", "localhost:0", "127.0.0.1", "127.0.0.1"},
		{"tcp6", "[::1]:0", "::1", "::1"},
	}
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		for _, test := range tests {
			t.Run(test.network+" "+test.address+" "+test.dial, func(t *testing.T) {
				l, err := e.Listen(test.network, test.address)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				_, port, _ := net.SplitHostPort(l.Addr().String())
				peer, err := net.Dial("tcp", net.JoinHostPort(test.dial, port))
				if err != nil {
					t.Fatal(err)
				}
				defer peer.Close()
				fd, remote := acceptOne(t, l)
				defer e.Close(fd)
				want := netip.MustParseAddrPort(peer.LocalAddr().String())
				if remote != want || remote.Addr().String() != test.remote {
					t.Errorf("remote = %v, want %v", remote, want)
				}
			})
		}
	})
}

func TestListenErrorsAreRecognisable(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		l, err := e.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = e.Listen("tcp", l.Addr().String())
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "poller: ") {
			t.Errorf("Listen on an address in use: %v", err)
		}
		var address *net.AddrError
		if _, err = e.Listen("tcp", "no port"); !errors.As(err, &address) {
			t.Errorf("Listen on no port: %v", err)
		}
		_, err = e.Listen("unix", filepath.Join(t.TempDir(), "missing", "socket"))
		if !errors.Is(err, syscall.ENOENT) {
			t.Errorf("Listen in a missing folder: %v", err)
		}
	})
}

func TestUnixSocket(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		// Not in t.TempDir, whose name may be longer than a socket's may.
		dir, err := os.MkdirTemp("", "millrace")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "s")
		l, err := e.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		peer := dial(t, e, l.Addr())
		fd, remote := acceptOne(t, l)
		wantQuiet(t, "accepted", fd)
		if remote.IsValid() {
			t.Errorf("remote = %v, want none", remote)
		}
		if err := e.SetNoDelay(fd, true); err != nil {
			t.Errorf("SetNoDelay: %v", err)
		}
		if _, err := e.Write(fd, []byte("hello")); err != nil {
			t.Error(err)
		}
		attached, _, err := e.Attach(peer)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 16)
		if n, err := e.Read(attached, p); string(p[:n]) != "hello" {
			t.Errorf("read %q, %v", p[:n], err)
		}
		e.Close(attached)
		e.Close(fd)
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket's file after Close: %v", err)
		}
	})
}

// TestGaugeOfAUnixSocket: only Linux tells of what the peer has not read.
func TestGaugeOfAUnixSocket(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		gauge := e.(poller.Gauge)
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range pair {
			defer e.Close(fd)
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := e.Write(pair[0], []byte("abcdef")); n != 6 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		p := make([]byte, 4)
		for _, left := range []int{6, 2, 0} {
			if n, err := gauge.Unread(pair[1]); n != left || err != nil {
				t.Errorf("Unread = %d, %v, want %d", n, err, left)
			}
			n, err := gauge.Unacked(pair[0])
			if errors.Is(err, poller.ErrNotSupported) {
				n, err = 0, nil
			}
			if told := left > 0 && runtime.GOOS == "linux"; (n > 0) != told || err != nil {
				t.Errorf("with %d bytes unread Unacked = %d, %v", left, n, err)
			}
			if n, err := e.Read(pair[1], p); n != min(left, len(p)) {
				t.Fatalf("Read = %d, %v", n, err)
			}
		}
	})
}

// TestAttachedDoesNotLinger: a linger time would make Close block.
func TestAttachedDoesNotLinger(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		fd, peer := connect(t, e)
		defer e.Close(fd)
		if err := peer.(*net.TCPConn).SetLinger(5); err != nil {
			t.Fatal(err)
		}
		attached, _, err := e.Attach(peer)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close(attached)
		if on, err := unix.GetsockoptInt(attached, unix.SOL_SOCKET, unix.SO_LINGER); on != 0 || err != nil {
			t.Errorf("SO_LINGER = %d, %v, want off", on, err)
		}
	})
}

func TestAttachRefusesDatagrams(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[1])
		file := os.NewFile(uintptr(pair[0]), "datagrams")
		c, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, _, err := e.Attach(c); !errors.Is(err, poller.ErrNotSupported) {
			t.Errorf("Attach = %v, want ErrNotSupported", err)
		}
		if _, err := c.Write([]byte("untouched")); err != nil {
			t.Errorf("after the failed Attach: %v", err)
		}
	})
}

// TestFailedAddLeavesNothing adds a descriptor that no kernel can poll for, and
// then a good one under the same number.
func TestFailedAddLeavesNothing(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		p, err := e.NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		fd, peer := connect(t, e)
		const unused = 900
		if err := p.Add(unused, 1); !errors.Is(err, syscall.EBADF) {
			t.Fatalf("Add of a closed descriptor: %v, want EBADF", err)
		}
		if err := unix.Dup2(fd, unused); err != nil {
			t.Fatal(err)
		}
		e.Close(fd)
		if err := p.Add(unused, 2); err != nil {
			t.Fatalf("Add of the same number: %v", err)
		}
		if err := p.Add(unused, 3); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("Add twice: %v, want EEXIST", err)
		}
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for events := make([]poller.Event, 1); ; {
			n, err := p.Wait(events, 20*time.Second)
			if err != nil || n == 0 || events[0].Token != 2 {
				t.Fatalf("Wait = %d, %v, %+v: want token 2", n, err, events)
			}
			if events[0].Ready&poller.Readable != 0 {
				break
			}
		}
		if err := p.CloseFD(unused); err != nil {
			t.Error(err)
		}
		if err := p.Remove(unused); err == nil {
			t.Error("Remove of what is not there: no error")
		}
	})
}
