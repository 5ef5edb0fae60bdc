package pollertest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// adopterTests are for the engines that are a [poller.Adopter].
var adopterTests = []test{
	{"AdoptedListenerAccepts", adoptedAccepts},
	{"AdoptedListenerClosesItsOrigin", adoptedCloses},
	{"AdoptedListenerNeverBlocks", adoptedNeverBlocks},
	{"AdoptRefusesWrappers", adoptRefuses},
	{"AdoptRefusesSocketsThatDoNotListen", adoptNotListening},
	{"AdoptRefusesClosedListeners", adoptClosed},
}

func (b *bed) adopter() poller.Adopter {
	b.Helper()
	a, ok := b.engine.(poller.Adopter)
	if !ok {
		b.Skip("the engine is no Adopter")
	}
	return a
}

// netListeners are listeners of net, by what they are.
func (b *bed) netListeners() map[string]net.Listener {
	b.Helper()
	dir, err := os.MkdirTemp("", "millrace")
	b.must("MkdirTemp", err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) }) // in the system's temporary folder anyway
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	b.must("Listen", err)
	unix, err := net.Listen("unix", filepath.Join(dir, "net"))
	b.must("Listen", err)
	own, err := poller.ListenUnix(filepath.Join(dir, "own"), 0o600)
	b.must("ListenUnix", err)
	return map[string]net.Listener{"tcp": tcp, "unix": unix, "unix of package poller": own, "file": b.fromFile()}
}

// fromFile is a listener that was given as a descriptor.
func (b *bed) fromFile() net.Listener {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	b.must("Listen", err)
	file, err := ln.(*net.TCPListener).File()
	b.must("File", err)
	b.must("Close", ln.Close())
	ln, err = net.FileListener(file)
	b.must("FileListener", err)
	b.must("Close", file.Close())
	return ln
}

func adoptedAccepts(b *bed) {
	for name, ln := range b.netListeners() {
		l, err := b.adopter().Adopt(ln)
		b.must("Adopt "+name, err)
		if l.Addr().String() != ln.Addr().String() {
			b.Errorf("%s: Addr = %v, want %v", name, l.Addr(), ln.Addr())
		}
		b.must("Add", b.incoming.Add(l.FD(), 2))
		for range 3 {
			peer, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
			b.must("Dial", err)
			fd, remote := b.acceptFrom(l)
			if want := peer.LocalAddr().String(); ln.Addr().Network() == "tcp" && remote.String() != want {
				b.Errorf("%s: remote = %v, want %v", name, remote, want)
			}
			if _, err := b.engine.Read(fd, make([]byte, 1)); !errors.Is(err, poller.ErrAgain) {
				b.Errorf("%s: Read of nothing = %v, want ErrAgain", name, err)
			}
			b.must("Close", b.engine.Close(fd))
			peer.Close()
		}
		b.must("Remove", b.incoming.Remove(l.FD()))
		b.must("Close", l.Close())
	}
}

// adoptedCloses: the origin, its file and all its copies are gone then.
func adoptedCloses(b *bed) {
	for name, ln := range b.netListeners() {
		l, err := b.adopter().Adopt(ln)
		b.must("Adopt "+name, err)
		b.must("Close", l.Close())
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			b.Errorf("%s: Close of the origin = %v, want net.ErrClosed", name, err)
		}
		if conn, err := net.Dial(ln.Addr().Network(), ln.Addr().String()); err == nil {
			conn.Close()
			b.Errorf("%s: somebody listens", name)
		}
		if ln.Addr().Network() == "unix" {
			b.wantFile(ln.Addr().String(), false)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	b.must("Listen", err)
	l, err := b.adopter().Adopt(ln)
	b.must("Adopt", err)
	b.must("Close of the origin", ln.Close())
	b.must("Close", l.Close())
}

// adoptedNeverBlocks has a child inherit the socket, for which package os/exec makes it
// block.
func adoptedNeverBlocks(b *bed) {
	ln := b.fromFile()
	l, err := b.adopter().Adopt(ln)
	b.must("Adopt", err)
	b.must("Add", b.incoming.Add(l.FD(), 2))
	file, err := ln.(*net.TCPListener).File()
	b.must("File", err)
	defer file.Close()
	child := exec.Command("true")
	child.ExtraFiles = []*os.File{file}
	b.must("true", child.Run())
	if _, _, err := l.Accept(); !errors.Is(err, poller.ErrAgain) {
		b.Errorf("Accept = %v, want ErrAgain", err)
	}
	b.must("Remove", b.incoming.Remove(l.FD()))
	b.must("Close", l.Close())
}

// wrappedListener has an Accept of its own, and its origin's descriptor.
type wrappedListener struct{ *net.TCPListener }

func adoptRefuses(b *bed) {
	ln := b.fromFile()
	for name, wrapped := range map[string]net.Listener{
		"pointer": &wrappedListener{ln.(*net.TCPListener)}, "value": wrappedListener{ln.(*net.TCPListener)},
	} {
		if _, err := b.adopter().Adopt(wrapped); !errors.Is(err, poller.ErrNotSupported) {
			b.Errorf("Adopt(%s) = %v, want ErrNotSupported", name, err)
		}
	}
	b.must("Close", ln.Close())
}

func adoptNotListening(b *bed) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	b.must("socket", err)
	b.must("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	file := os.NewFile(uintptr(fd), "bound")
	ln, err := net.FileListener(file)
	b.must("Close", file.Close())
	if err != nil {
		b.Skipf("net finds out by itself: %v", err)
	}
	if _, err := b.adopter().Adopt(ln); !errors.Is(err, syscall.EINVAL) {
		b.Errorf("Adopt = %v, want EINVAL", err)
	}
	b.must("Close", ln.Close())
}

func adoptClosed(b *bed) {
	ln := b.fromFile()
	b.must("Close", ln.Close())
	if _, err := b.adopter().Adopt(ln); !errors.Is(err, net.ErrClosed) {
		b.Errorf("Adopt = %v, want net.ErrClosed", err)
	}
}
