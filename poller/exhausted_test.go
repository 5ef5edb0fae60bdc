//go:build linux || darwin || dragonfly || freebsd

package poller_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/millrace/millrace/poller"
	"golang.org/x/sys/unix"
)

// childEngine names, in the environment, the engine that this process is to
// exhaust its descriptors with.
const childEngine = "MILLRACE_TEST_EXHAUST"

// TestExhausted runs TestExhaustedChild in processes of their own: no other
// test may meet the lowered limit.
func TestExhausted(t *testing.T) {
	for _, name := range poller.Engines() {
		t.Run(name, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestExhaustedChild$", "-test.v")
			child.Env = append(os.Environ(), childEngine+"="+name)
			if out, err := child.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func TestExhaustedChild(t *testing.T) {
	name := os.Getenv(childEngine)
	if name == "" {
		t.Skip("TestExhausted runs it in a process of its own")
	}
	e := newEngine(t, name)
	l, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer := dial(t, e, l.Addr())

	hoard := useUpDescriptors(t)
	if _, _, err := l.Accept(); !errors.Is(err, poller.ErrExhausted) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("Accept = %v, want ErrExhausted and EMFILE", err)
	}
	if _, err := e.NewPoller(); !errors.Is(err, poller.ErrExhausted) {
		t.Errorf("NewPoller = %v, want ErrExhausted", err)
	}
	if _, err := e.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, poller.ErrExhausted) {
		t.Errorf("Listen = %v, want ErrExhausted", err)
	}
	if _, _, err := e.Attach(peer); !errors.Is(err, poller.ErrExhausted) {
		t.Errorf("Attach = %v, want ErrExhausted", err)
	}
	if _, err := e.(poller.Dialer).Connect(netip.Addr{}, addrPort(l)); !errors.Is(err, poller.ErrExhausted) {
		t.Errorf("Connect = %v, want ErrExhausted", err)
	}
	unix.Close(hoard[0]) // room for one
	for range 2 {        // which a Connect that fails gives back
		if _, err := e.(poller.Dialer).Connect(foreign, addrPort(l)); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("Connect from an address of no device = %v, want EADDRNOTAVAIL", err)
		}
	}

	fd, _, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept with room again: %v", err)
	}
	if _, err := e.Detach(fd); !errors.Is(err, poller.ErrExhausted) {
		t.Errorf("Detach = %v, want ErrExhausted", err)
	}
	unix.Close(hoard[1]) // enough for Detach's first copy only
	if _, err := e.Detach(fd); !errors.Is(err, poller.ErrExhausted) {
		t.Errorf("Detach = %v, want ErrExhausted", err)
	}
	wantQuiet(t, "descriptor after Detach failed", fd)
	unix.Close(hoard[2])
	c, err := e.Detach(fd)
	if err != nil {
		t.Fatalf("Detach with room again: %v", err)
	}
	if _, err := peer.Write([]byte("untouched")); err != nil {
		t.Errorf("after the failed Attach: %v", err)
	}
	p := make([]byte, 16)
	if n, err := c.Read(p); string(p[:n]) != "untouched" {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

// useUpDescriptors lowers the limit and opens descriptors until it is reached.
func useUpDescriptors(t *testing.T) []int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var hoard []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			return hoard
		}
		if err != nil {
			t.Fatal(err)
		}
		hoard = append(hoard, fd)
	}
}

func TestRaiseDescriptorLimit(t *testing.T) {
	soft, hard, err := poller.RaiseDescriptorLimit()
	if err != nil {
		t.Fatal(err)
	}
	if soft == 0 || soft != hard {
		t.Errorf("soft = %d, hard = %d, want the same", soft, hard)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) != soft {
		t.Errorf("the system's limit is %d, %v, want %d", limit.Cur, err, soft)
	}
}
