package poller_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/millrace/millrace/poller"
	"golang.org/x/sys/unix"
)

// openDescriptors returns the numbers this process has open.
func openDescriptors(t *testing.T) map[int]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[int]bool{}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = true
		}
	}
	return open
}

// TestPollerDescriptors: all that a poller opens is close-on-exec, easygo's own
// descriptors too, and gone after Close.
func TestPollerDescriptors(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		before := openDescriptors(t)
		p, err := e.NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		opened := 0
		for fd := range openDescriptors(t) {
			if before[fd] {
				continue
			}
			opened++
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d: flags %#x, %v: want FD_CLOEXEC", fd, flags, err)
			}
		}
		want := map[string]int{"epoll": 3, "easygo": 2}[e.Name()]
		if opened != want {
			t.Errorf("a poller opens %d descriptors, want %d", opened, want)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if after := openDescriptors(t); len(after) != len(before) {
			t.Errorf("open before: %v, after: %v", before, after)
		}
	})
}

func TestEpollKeepsOneToken(t *testing.T) {
	e := newEngine(t, "epoll")
	p, err := e.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, _ := connect(t, e)
	defer e.Close(fd)
	if err := p.Add(fd, ^poller.Token(0)); err == nil {
		t.Error("Add with the highest token: no error")
	}
}
