package pollertest

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/poller"
)

// namerTests are for the engines that are a [poller.Namer].
var namerTests = []test{
	{"LocalAddrIsWhatThePeerHasReached", localAddr},
	{"LocalAddrOfUnixSocketIsZero", localAddrOfUnix},
}

func (b *bed) namer() poller.Namer {
	b.Helper()
	n, ok := b.engine.(poller.Namer)
	if !ok {
		b.Skip("the engine is no Namer")
	}
	return n
}

func localAddr(b *bed) {
	n, c := b.namer(), b.added(7)
	want := netip.MustParseAddrPort(c.peer.RemoteAddr().String())
	if local, err := n.LocalAddr(c.fd); local != want || err != nil {
		b.Errorf("LocalAddr = %v, %v, want %v", local, err, want)
	}
	b.closeFD(c.fd)
	if local, err := n.LocalAddr(-1); err == nil {
		b.Errorf("LocalAddr of no descriptor = %v", local)
	}
}

func localAddrOfUnix(b *bed) {
	n := b.namer()
	dir, err := os.MkdirTemp("", "millrace")
	b.must("MkdirTemp", err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) }) // in the system's temporary folder anyway
	l, err := b.engine.Listen("unix", filepath.Join(dir, "s"))
	b.must("Listen", err)
	b.must("Add", b.incoming.Add(l.FD(), 2))
	peer := b.cfg.Dial(b.T, b.engine, l.Addr())
	defer peer.Close()
	fd, _ := b.acceptFrom(l)
	if local, err := n.LocalAddr(fd); local.IsValid() || err != nil {
		b.Errorf("LocalAddr = %v, %v, want none", local, err)
	}
	b.must("Close", b.engine.Close(fd))
	b.must("Remove", b.incoming.Remove(l.FD()))
	b.must("Close", l.Close())
}
