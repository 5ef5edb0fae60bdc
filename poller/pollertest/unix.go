package pollertest

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// unixTests are for the engines that are a [poller.UnixEngine].
var unixTests = []test{
	{"UnixSocketHasItsMode", unixMode},
	{"UnixSocketOfACrashIsReplaced", unixStale},
	{"UnixSocketInUseStays", unixInUse},
	{"UnixSocketTakesNoOtherFile", unixNoSocket},
	{"UnixSocketOfASuccessorStays", unixSuccessor},
	{"UnixSocketsAtOnce", unixAtOnce},
	{"UnixSocketAddressRefused", unixRefused},
	{"ListenUnixForNet", unixForNet},
}

// unixEngine gives the engine and a folder whose name leaves a socket's room.
func (b *bed) unixEngine() (e poller.UnixEngine, path string) {
	b.Helper()
	e, ok := b.engine.(poller.UnixEngine)
	if !ok {
		b.Skip("the engine is no UnixEngine")
	}
	dir, err := os.MkdirTemp("", "millrace")
	b.must("MkdirTemp", err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) }) // in the system's temporary folder anyway
	return e, filepath.Join(dir, "s")
}

func (b *bed) listenUnix(e poller.UnixEngine, path string, mode fs.FileMode) poller.Listener {
	b.Helper()
	l, err := e.ListenUnix(path, mode)
	b.must("ListenUnix", err)
	return l
}

// wantFile checks whether the file is there.
func (b *bed) wantFile(path string, want bool) {
	b.Helper()
	if _, err := os.Lstat(path); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Errorf("the file: %v; want it there: %v", err, want)
	}
}

func unixMode(b *bed) {
	e, path := b.unixEngine()
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666, 0o777} {
		l := b.listenUnix(e, path, mode)
		info, err := os.Stat(path)
		b.must("Stat", err)
		if info.Mode().Perm() != mode || info.Mode().Type() != fs.ModeSocket {
			b.Errorf("the file is %v, want a socket with %v", info.Mode(), mode)
		}
		if a := l.Addr(); a.Network() != "unix" || a.String() != path {
			b.Errorf("Addr = %s %s", a.Network(), a)
		}
		b.must("Add", b.incoming.Add(l.FD(), 2))
		peer, err := net.Dial("unix", path)
		b.must("Dial", err)
		fd, remote := b.acceptFrom(l)
		if remote.IsValid() {
			b.Errorf("remote = %v, want none", remote)
		}
		b.must("Close", b.engine.Close(fd))
		peer.Close()
		b.must("Remove", b.incoming.Remove(l.FD()))
		b.must("Close", l.Close())
		b.wantFile(path, false)
	}
}

// leaveStale leaves a socket's file behind, as a process that was killed.
func (b *bed) leaveStale(path string) {
	b.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	b.must("ListenUnix of net", err)
	l.SetUnlinkOnClose(false)
	b.must("Close", l.Close())
	b.wantFile(path, true)
}

func unixStale(b *bed) {
	e, path := b.unixEngine()
	b.leaveStale(path)
	l := b.listenUnix(e, path, 0)
	peer, err := net.Dial("unix", path)
	b.must("Dial", err)
	peer.Close()
	b.must("Close", l.Close())
	b.wantFile(path, false)
}

func unixInUse(b *bed) {
	e, path := b.unixEngine()
	l := b.listenUnix(e, path, 0o600)
	for _, mode := range []fs.FileMode{0, 0o666} {
		if _, err := e.ListenUnix(path, mode); !errors.Is(err, syscall.EADDRINUSE) {
			b.Errorf("ListenUnix on one in use = %v, want EADDRINUSE", err)
		}
	}
	info, err := os.Stat(path)
	b.must("Stat", err)
	if info.Mode().Perm() != 0o600 {
		b.Errorf("the file has the mode %v now", info.Mode())
	}
	peer, err := net.Dial("unix", path)
	b.must("Dial", err)
	peer.Close()
	b.must("Close", l.Close())
}

func unixNoSocket(b *bed) {
	e, path := b.unixEngine()
	b.must("WriteFile", os.WriteFile(path, []byte("precious"), 0o600))
	link := path + "-link"
	b.must("Symlink", os.Symlink(path, link))
	for _, taken := range []string{path, link, filepath.Dir(path)} {
		if _, err := e.ListenUnix(taken, 0o666); !errors.Is(err, syscall.EADDRINUSE) {
			b.Errorf("ListenUnix(%s) = %v, want EADDRINUSE", taken, err)
		}
	}
	if text, err := os.ReadFile(link); string(text) != "precious" {
		b.Errorf("the file has %q, %v", text, err)
	}
}

func unixSuccessor(b *bed) {
	e, path := b.unixEngine()
	l := b.listenUnix(e, path, 0)
	b.must("Remove", os.Remove(path))
	successor := b.listenUnix(e, path, 0)
	b.must("Close", l.Close())
	b.wantFile(path, true)
	peer, err := net.Dial("unix", path)
	b.must("Dial", err)
	peer.Close()
	b.must("Close", successor.Close())
	b.wantFile(path, false)

	gone := b.listenUnix(e, path, 0)
	b.must("Remove", os.Remove(path))
	b.must("WriteFile", os.WriteFile(path, nil, 0o600))
	b.must("Close", gone.Close())
	b.wantFile(path, true)
}

// unixAtOnce: of many that find a stale socket one gets the path, and none removes
// the file of that one.
func unixAtOnce(b *bed) {
	e, path := b.unixEngine()
	for range 20 {
		b.leaveStale(path)
		var got atomic.Pointer[poller.Listener]
		var listens sync.WaitGroup
		for range 4 {
			listens.Go(func() {
				switch l, err := e.ListenUnix(path, 0o600); {
				case err == nil && !got.CompareAndSwap(nil, &l):
					b.Error("two listen at once")
				case err != nil && !errors.Is(err, syscall.EADDRINUSE):
					b.Errorf("ListenUnix = %v", err)
				}
			})
		}
		listens.Wait()
		if got.Load() == nil {
			b.Fatal("nobody listens")
		}
		peer, err := net.Dial("unix", path)
		b.must("Dial", err)
		peer.Close()
		b.must("Close", (*got.Load()).Close())
	}
}

func unixRefused(b *bed) {
	e, path := b.unixEngine()
	long := path
	for len(long) < 120 {
		long += "-and-more"
	}
	if _, err := e.ListenUnix(long, 0); !errors.Is(err, syscall.EINVAL) {
		b.Errorf("ListenUnix on a long path = %v, want EINVAL", err)
	}
	if _, err := e.ListenUnix("", 0); !errors.Is(err, syscall.EINVAL) {
		b.Errorf("ListenUnix without a path = %v, want EINVAL", err)
	}
	if _, err := e.ListenUnix(filepath.Join(path, "missing"), 0o600); !errors.Is(err, syscall.ENOENT) {
		b.Errorf("ListenUnix in a missing folder = %v, want ENOENT", err)
	}
	if l, err := e.ListenUnix("@millrace-test", 0o600); err == nil {
		b.Errorf("ListenUnix gave an abstract socket a mode")
		l.Close()
	}
}

// unixForNet: ListenUnix without a poller is on the same terms.
func unixForNet(b *bed) {
	_, path := b.unixEngine()
	b.leaveStale(path)
	l, err := poller.ListenUnix(path, 0o600)
	b.must("ListenUnix", err)
	if _, err := poller.ListenUnix(path, 0); !errors.Is(err, syscall.EADDRINUSE) {
		b.Errorf("ListenUnix on one in use = %v, want EADDRINUSE", err)
	}
	peer, err := net.Dial("unix", path)
	b.must("Dial", err)
	b.Cleanup(func() { peer.Close() })
	conn, err := l.Accept()
	b.must("Accept", err)
	conn.Close()
	b.must("Remove", os.Remove(path))
	successor, err := poller.ListenUnix(path, 0)
	b.must("ListenUnix", err)
	b.must("Close", l.Close())
	b.wantFile(path, true)
	b.must("Close", successor.Close())
	b.wantFile(path, false)
}
