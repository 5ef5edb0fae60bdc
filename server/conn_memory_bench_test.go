package server_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// BenchmarkConnectionMemory prints what an idle, open connection costs the server.
// B/conn is what the process has from the system, on Go's heap and off it;
// runtime-B/conn what Go's runtime says of it. The network's and the clients' own
// memory, measured with serveNothing, is taken off.
//
// Then the collector runs, over all of it, while messages come and go: gc-cycle-ns
// is how long it takes for once, gc-pause-...-ns for how long all stood still.
func BenchmarkConnectionMemory(b *testing.B) {
	for _, conns := range []int{1_000_000, 4_000_000} {
		b.Run(fmt.Sprintf("%dconns", conns), func(b *testing.B) {
			needMemory(b, conns)
			for b.Loop() {
				network := openMany(b, conns, serveNothing)
				network.close(b)
				all := openMany(b, conns, serveBare)
				all.collect(b)
				all.close(b)
				b.ReportMetric(all.resident-network.resident, "B/conn")
				b.ReportMetric(all.inUse-network.inUse, "runtime-B/conn")
				b.ReportMetric(network.resident, "network-B/conn")
			}
			b.ReportMetric(0, "ns/op") // says nothing
		})
	}
}

// needMemory skips the benchmark on a machine that could not hold it.
func needMemory(b *testing.B, conns int) {
	const each = 600 // the server's end, the client's, and the collector's headroom
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		b.Skip("the memory of a process is known on Linux only: ", err)
	}
	var free int // KiB
	_, after, _ := strings.Cut(string(text), "MemAvailable:")
	if _, err := fmt.Sscan(after, &free); err != nil {
		b.Fatal(err)
	}
	if free<<10 < conns*each {
		b.Skipf("%d connections need %d MB, %d are free", conns, conns*each/1e6, free<<10/1e6)
	}
}

// residentMemory is what the process has of the machine's memory, in bytes; 0 where
// the system does not say.
func residentMemory() int {
	var size, resident int
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &resident)
	}
	if err != nil {
		return 0
	}
	return resident * os.Getpagesize()
}

// memoryInUse is what Go's runtime has from the system, in bytes, after it has given
// back what is free.
func memoryInUse() int {
	runtime.GC() // sync.Pool lets go in two steps: the second is FreeOSMemory's
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	// HeapIdle is free or given back: not a connection's cost.
	return int(m.HeapInuse + m.StackInuse + m.MSpanInuse + m.MCacheInuse + m.BuckHashSys + m.GCSys + m.OtherSys)
}

// crowd is many open connections on a network in memory.
type crowd struct {
	network *simnet.Network
	clients []*simnet.Conn
	stop    func() // ends the server

	resident, inUse float64 // memory that came to be used, bytes a connection
}

// openMany opens connections to what serve starts. The clock stands still: nobody
// is pinged.
func openMany(b *testing.B, n int, serve startServing) *crowd {
	inUse, resident := memoryInUse(), residentMemory()
	network := simnet.New(simnet.Config{Preallocate: n})
	addr, stop := serve(b, network)
	c := &crowd{network: network, stop: stop}
	c.clients = dialMany(b, network, addr, n)
	c.inUse = float64(memoryInUse()-inUse) / float64(n)
	c.resident = float64(residentMemory()-resident) / float64(n)
	return c
}

// close closes all connections from the clients' side, since a server that stops
// would send a close frame to each, and lets go of all memory.
func (c *crowd) close(b *testing.B) {
	for _, conn := range c.clients {
		if err := conn.Close(); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "only the listener is open", func() bool { return c.network.OpenFDs() == 1 })
	c.stop()
	*c = crowd{resident: c.resident, inUse: c.inUse}
}

// collect has the garbage collector run while messages come and go.
func (c *crowd) collect(b *testing.B) {
	const cycles = 9
	done := make(chan time.Duration)
	go func() {
		start := time.Now()
		for range cycles {
			runtime.GC()
		}
		done <- time.Since(start)
	}()
	answer := make([]byte, 64)
	for {
		select {
		case took := <-done:
			var stats debug.GCStats
			debug.ReadGCStats(&stats)
			pauses := slices.Sorted(slices.Values(stats.Pause[:cycles])) // the latest
			b.ReportMetric(float64(took)/cycles, "gc-cycle-ns")
			b.ReportMetric(float64(pauses[cycles/2]), "gc-pause-p50-ns")
			b.ReportMetric(float64(pauses[cycles-1]), "gc-pause-max-ns")
			return
		default:
			c.echo(b, answer)
		}
	}
}

var shortMessage = []byte(frame(opText, "sixteen bytes...")) // the server unmasks its own copy

// echo is a message to and fro on one of the connections, at random.
func (c *crowd) echo(b *testing.B, answer []byte) {
	conn := c.clients[rand.IntN(len(c.clients))]
	if _, err := conn.Write(shortMessage); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Read(answer); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCrowdEcho is a round trip on one of 1,000,000 connections, at random,
// with no garbage collection and with one going on all the time. p99-ns shows
// whether the collector's pauses reach the connections.
func BenchmarkCrowdEcho(b *testing.B) {
	c := openMany(b, 1_000_000, serveBare)
	defer c.close(b)
	b.Run("quiet", func(b *testing.B) { c.measureEcho(b) })
	b.Run("collecting", func(b *testing.B) {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
				}
			}
		}()
		c.measureEcho(b)
		close(stop)
		<-stopped
	})
}

func (c *crowd) measureEcho(b *testing.B) {
	answer := make([]byte, 64)
	times := make([]time.Duration, 0, 1<<20)
	for b.Loop() {
		start := time.Now()
		c.echo(b, answer)
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*50/100]), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
}

// startServing starts to serve on a network, until the end of the test or an earlier
// call of stop.
type startServing func(testing.TB, *simnet.Network) (addr net.Addr, stop func())

// serveBare serves an echo.
func serveBare(tb testing.TB, network *simnet.Network) (addr net.Addr, stop func()) {
	return serveHandler(tb, network, echo{})
}

func serveHandler(tb testing.TB, network *simnet.Network, h server.Handler) (addr net.Addr, stop func()) {
	return serveOn(tb, network, &server.Server{Handler: h})
}

// serveOn serves without the ledger of startSim, which allocates, and, if srv does not say when,
// without pings, which nobody would answer.
func serveOn(tb testing.TB, network *simnet.Network, srv *server.Server) (addr net.Addr, stop func()) {
	srv.Runtime.Engine, srv.Keepalive.Interval, srv.Logger = network, cmp.Or(srv.Keepalive.Interval, -1), noLog
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(srv, ln) }()
	stop = sync.OnceFunc(func() {
		_ = srv.Close() // always nil
		if err := <-served; !errors.Is(err, server.ErrServerClosed) {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return ln.Addr(), stop
}

// dialMany opens n WebSocket connections, a few at a time, with these header lines.
func dialMany(tb testing.TB, network *simnet.Network, addr net.Addr, n int, lines ...string) []*simnet.Conn {
	return dialAll(tb, network, addr, n, upgradeRequest(lines...))
}

// dialAll opens n connections with this request.
func dialAll(tb testing.TB, network *simnet.Network, addr net.Addr, n int, text string) []*simnet.Conn {
	clients := make([]*simnet.Conn, n)
	target, request, answer := addr.String(), []byte(text), make([]byte, 1024)
	for from := 0; from < n; from += 256 {
		some := clients[from:min(from+256, n)]
		for i := range some {
			conn, err := network.Dial(target)
			if err != nil {
				tb.Fatal(err)
			}
			if _, err := conn.TryWrite(request); err != nil {
				tb.Fatal(err)
			}
			some[i] = conn
		}
		for _, conn := range some {
			await(tb, conn, answer, 1)
		}
	}
	return clients
}

// await reads what comes for a client until there were size bytes. It lets others
// run instead of blocking, which would allocate and wake threads.
func await(tb testing.TB, c *simnet.Conn, buf []byte, size int) {
	for got := 0; got < size; {
		n, err := c.TryRead(buf[got:])
		if err == poller.ErrAgain {
			runtime.Gosched()
		} else if err != nil {
			tb.Fatal(err)
		}
		got += n
	}
}
