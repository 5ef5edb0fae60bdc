package simnet_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// BenchmarkRoundTrip is a message to the server and back: the network's own
// share in any benchmark of a server. It does not allocate.
func BenchmarkRoundTrip(b *testing.B) {
	for name, size := range map[string]int{"64B": 64, "64KiB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			n := simnet.New(simnet.Config{RealClock: true})
			p, l := listen(b, n)
			c, fd := connect(b, n, l)
			must(b, p.Add(fd, 2))
			trip := newTrip(b, n, p, c, fd, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				trip()
			}
		})
	}
}

// newTrip returns a function that takes one message to the server and back.
func newTrip(t testing.TB, n *simnet.Network, p poller.Poller, c *simnet.Conn, fd, size int) func() {
	message, buffer := make([]byte, size), make([]byte, size)
	events := make([]poller.Event, 4)
	check := func(n int, err error, want int) {
		if err != nil || n != want {
			t.Fatalf("%d, %v, want %d", n, err, want)
		}
	}
	return func() {
		count, err := c.TryWrite(message)
		check(count, err, size)
		if _, err := p.Wait(events, time.Second); err != nil {
			t.Fatal(err)
		}
		count, err = n.Read(fd, buffer)
		check(count, err, size)
		count, err = n.Write(fd, buffer)
		check(count, err, size)
		count, err = c.TryRead(buffer)
		check(count, err, size)
	}
}

// BenchmarkIdleConnections tells what a million idle connections take, both
// ends and their place in a poller, without the callers' own pointers.
func BenchmarkIdleConnections(b *testing.B) {
	const conns = 1_000_000
	for b.Loop() {
		before := heap()
		n := simnet.New(simnet.Config{})
		p, l := listen(b, n)
		idle(b, n, p, l, conns)
		b.ReportMetric(float64(heap()-before)/conns, "B/conn")
		runtime.KeepAlive(n)
	}
}

// idle opens connections that stay open and has their first events taken.
func idle(t testing.TB, n *simnet.Network, p poller.Poller, l poller.Listener, conns int) {
	t.Helper()
	address, events := l.Addr().String(), make([]poller.Event, 64)
	for i := range conns {
		if _, err := n.Dial(address); err != nil {
			t.Fatal(err)
		}
		fd, _, err := l.Accept()
		must(t, err)
		must(t, p.Add(fd, poller.Token(i)))
		_, err = p.Wait(events, 0)
		must(t, err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one only empties the pools
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestIdleConnectionIsSmall holds the promise of the package doc.
func TestIdleConnectionIsSmall(t *testing.T) {
	const conns = 20_000
	n := simnet.New(simnet.Config{Preallocate: conns})
	p, l := listen(t, n)
	before := heap()
	idle(t, n, p, l, conns)
	perConn := float64(heap()-before) / conns
	runtime.KeepAlive(n)
	if perConn > 72 { // the other 32 bytes are the table's
		t.Errorf("an idle connection takes %.1f bytes besides its descriptor, want at most 72", perConn)
	}
}

// TestBusyConnectionGivesBack: buffers exist only while bytes are on the way.
func TestBusyConnectionGivesBack(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	before := heap()
	for i := range 100 {
		c, fd := connect(t, n, l)
		must(t, p.Add(fd, poller.Token(i)))
		newTrip(t, n, p, c, fd, 64<<10)()
	}
	if kept := int64(heap()) - int64(before); kept > 100<<10 {
		t.Errorf("100 connections keep %d bytes after their traffic", kept)
	}
	runtime.KeepAlive(n)
}
