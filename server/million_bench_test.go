package server_test

import (
	"cmp"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// population is how many connections the memory benchmarks hold; MILLRACE_CONNS
// changes it.
func population(tb testing.TB) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("MILLRACE_CONNS"), "1000000"))
	if err != nil {
		tb.Fatalf("MILLRACE_CONNS: %v", err)
	}
	return n
}

// BenchmarkIdleMemory prints what an idle, open connection costs the server, heap
// and everything else that the runtime has from the system, with 1,000,000 of
// them. The network's own memory, measured with connections that are accepted and
// left alone, is taken off.
func BenchmarkIdleMemory(b *testing.B) {
	n := population(b)
	for b.Loop() {
		network := bytesEach(b, n, acceptOnly)
		all := bytesEach(b, n, func(b *testing.B, n int) (hold any) { return openMany(b, n) })
		b.ReportMetric(all-network, "B/conn")
		b.ReportMetric(network, "simnet-B/conn")
	}
}

// bytesEach is the memory that n connections hold, for each.
func bytesEach(b *testing.B, n int, hold func(*testing.B, int) any) float64 {
	before := inUse()
	held := hold(b, n)
	after := inUse()
	runtime.KeepAlive(held)
	return float64(after-before) / float64(n)
}

// inUse is all memory that the runtime has from the system and has not given
// back.
func inUse() int64 {
	for range 3 { // sync.Pool lets go in two steps
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	// HeapIdle is free or given back: not a connection's cost.
	return int64(m.HeapInuse + m.StackInuse + m.MSpanInuse + m.MCacheInuse + m.BuckHashSys + m.GCSys + m.OtherSys)
}

// million is a server on a network in memory with many open connections.
type million struct {
	network *simnet.Network
	server  *server.Server
	clients []*simnet.Conn
}

func openMany(b *testing.B, n int) *million {
	c := &million{network: simnet.New(simnet.Config{Preallocate: n, RealClock: true})}
	addr, srv := serveBare(b, c.network)
	c.server = srv
	c.clients = dialMany(b, c.network, addr, n, func(conn *simnet.Conn, i int) {
		if _, err := conn.Write([]byte(upgradeRequest())); err != nil {
			b.Fatal(err)
		}
	})
	return c
}

// serveBare serves an echo until the test ends, without the ledger of startSim,
// which allocates.
func serveBare(tb testing.TB, network *simnet.Network) (net.Addr, *server.Server) {
	srv := &server.Server{Engine: network, Handler: echo{}, Logger: slog.New(slog.DiscardHandler)}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	tb.Cleanup(func() {
		_ = srv.Close() // always nil
		if err := <-served; !errors.Is(err, server.ErrServerClosed) {
			tb.Error(err)
		}
	})
	return ln.Addr(), srv
}

// dialMany opens n connections, a few at a time, and has their answers read.
func dialMany(b *testing.B, network *simnet.Network, addr net.Addr, n int, greet func(*simnet.Conn, int)) []*simnet.Conn {
	clients := make([]*simnet.Conn, n)
	answer := make([]byte, 1024)
	for from := 0; from < n; from += 256 {
		some := clients[from:min(from+256, n)]
		for i := range some {
			conn, err := network.Dial(addr.String())
			if err != nil {
				b.Fatal(err)
			}
			some[i] = conn
			greet(conn, from+i)
		}
		for _, conn := range some {
			if _, err := conn.Read(answer); err != nil {
				b.Fatal(err)
			}
		}
	}
	return clients
}

// acceptOnly is a server that accepts, answers with a byte and forgets.
func acceptOnly(b *testing.B, n int) (hold any) {
	network := simnet.New(simnet.Config{Preallocate: n, RealClock: true})
	ln, err := network.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	p, err := network.NewPoller()
	if err != nil {
		b.Fatal(err)
	}
	clients := dialMany(b, network, ln.Addr(), n, func(*simnet.Conn, int) {
		fd, _, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Add(fd, poller.Token(fd)); err != nil {
			b.Fatal(err)
		}
		if _, err := network.Write(fd, []byte{0}); err != nil {
			b.Fatal(err)
		}
	})
	return []any{network, ln, p, clients}
}

// BenchmarkCrowdEcho is a round trip on one of 1,000,000 connections, at random,
// with no garbage collection and with one going on all the time. p99-ns shows
// whether the collector's pauses reach the connections.
func BenchmarkCrowdEcho(b *testing.B) {
	c := openMany(b, population(b))
	b.Run("quiet", func(b *testing.B) { c.echo(b) })
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
		c.echo(b)
		close(stop)
		<-stopped
	})
}

func (c *million) echo(b *testing.B) {
	message := []byte(frame(opText, "sixteen bytes...")) // the server unmasks its own copy
	answer := make([]byte, 64)
	times := make([]time.Duration, 0, 1<<20)
	for b.Loop() {
		conn := c.clients[rand.IntN(len(c.clients))]
		start := time.Now()
		if _, err := conn.Write(message); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(answer); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*50/100]), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
}
