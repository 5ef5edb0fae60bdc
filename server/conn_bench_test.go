package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The micro-benchmarks run the whole server in user space: its network is in
// memory, and there is one processor, on which its loop runs when the clients'
// goroutine yields. No system call is in the figures and no waking of threads.
// The clients and the network are: BenchmarkNetworkAlone has these by themselves,
// under the same names, to be taken off.

// clientsAtOnce is how many clients ask before their answers are read. The loop
// gets them in one batch, so that going to and fro between two goroutines is a
// small part of the figures.
const clientsAtOnce = 64

// exchange is what clients send, one after another, and how much comes back.
type exchange struct {
	name     string
	clients  int
	messages int // in one write
	size     int // of a message's payload in bytes
}

var exchanges = []exchange{
	{"64B", clientsAtOnce, 1, 64},
	{"64B-100000conns", 100_000, 1, 64}, // beyond what the processor's nearer caches hold
	{"64Bx16", clientsAtOnce, 16, 64},
	{"1KiB", clientsAtOnce, 1, 1 << 10},
	{"64KiB", 4, 1, 64 << 10},
}

func (e exchange) payload() string { return strings.Repeat("0123456789abcdef", e.size/16) }

func (e exchange) question() []byte {
	return []byte(strings.Repeat(frame(opBinary, e.payload()), e.messages))
}

func (e exchange) answer() []byte {
	header := lengthBytes(fin|opBinary, 0, uint64(e.size))
	return []byte(strings.Repeat(string(header)+e.payload(), e.messages))
}

// BenchmarkMessage is a message's way through the server: read, decoded, handled,
// its echo gathered and written. 64Bx16 has 16 messages in a read.
func BenchmarkMessage(b *testing.B) {
	for _, e := range exchanges {
		b.Run(e.name, func(b *testing.B) {
			n := benchNetwork(b)
			addr, _ := serveBare(b, n)
			clients := dialMany(b, n, addr, e.clients)
			e.verify(b, clients[0])
			e.run(b, clients)
		})
	}
}

// verify looks at one answer: run only counts bytes.
func (e exchange) verify(b *testing.B, c *simnet.Conn) {
	if _, err := c.TryWrite(e.question()); err != nil {
		b.Fatal(err)
	}
	got := make([]byte, len(e.answer()))
	await(b, c, got, len(got))
	if !bytes.Equal(got, e.answer()) {
		b.Fatalf("%.80q, want %.80q", got, e.answer())
	}
}

func (e exchange) run(b *testing.B, clients []*simnet.Conn) {
	question := e.question()
	takeTurns(b, clients, e.messages, len(e.answer()), func(i int) error {
		_, err := clients[i].TryWrite(question) // the window has room for all of it
		return err
	})
}

// takeTurns has messages sent for one client after another, and has as many bytes
// as size come to it, in an order that no cache can guess and that is always the
// same. It counts one operation for each message.
func takeTurns(b *testing.B, clients []*simnet.Conn, messages, size int, send func(i int) error) {
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(clients))
	buf := make([]byte, size)
	sent, first, next := 0, 0, 0 // the clients of order[first:next] wait for their bytes
	laps := startLaps()
	for b.Loop() {
		if sent++; sent%messages != 0 {
			continue
		}
		if err := send(order[next]); err != nil {
			b.Fatal(err)
		}
		if next++; next-first == clientsAtOnce || next == len(clients) {
			for _, i := range order[first:next] {
				await(b, clients[i], buf, size)
			}
			laps.done((next - first) * messages)
			next %= len(clients)
			first = next
		}
	}
	laps.report(b)
}

// BenchmarkUpgrade is a connection's whole life: connect, upgrade, close.
func BenchmarkUpgrade(b *testing.B) {
	n := benchNetwork(b)
	addr, _ := serveBare(b, n)
	upgrades(b, n, addr)
}

func upgrades(b *testing.B, n *simnet.Network, addr net.Addr) {
	request := []byte(upgradeRequest("User-Agent: test", "Origin: http://example.com"))
	buf, target := make([]byte, 512), addr.String()
	clients := make([]*simnet.Conn, 0, clientsAtOnce)
	finish := func() {
		for _, c := range clients {
			await(b, c, buf, 1)
			if !bytes.HasPrefix(buf, []byte("HTTP/1.1 101 ")) {
				b.Fatalf("answered %.40q", buf)
			}
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
		}
		clients = clients[:0]
	}
	laps := startLaps()
	for b.Loop() {
		c, err := n.Dial(target)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.TryWrite(request); err != nil {
			b.Fatal(err)
		}
		if clients = append(clients, c); len(clients) == clientsAtOnce {
			finish()
			laps.done(clientsAtOnce)
		}
	}
	laps.report(b)
	finish()
}

// audiences are how many receive a broadcast.
var audiences = []int{1000, 10_000}

// BenchmarkBroadcast is a prepared message of 64 B for each of many connections,
// sent from outside their handlers. It counts one operation for each receiver.
func BenchmarkBroadcast(b *testing.B) {
	for _, receivers := range audiences {
		b.Run(fmt.Sprintf("%dconns", receivers), func(b *testing.B) {
			var mu sync.Mutex
			var open []*server.Conn
			n := benchNetwork(b)
			addr, _ := serveHandler(b, n, handler{open: func(c *server.Conn) {
				mu.Lock()
				defer mu.Unlock()
				open = append(open, c)
			}})
			clients := dialMany(b, n, addr, receivers)
			mu.Lock() // each Open came before its 101
			defer mu.Unlock()
			for i, c := range clients {
				if ours, theirs := open[i].RemoteAddr().String(), c.LocalAddr().String(); ours != theirs {
					b.Fatalf("connection %d is from %s, client %d is %s", i, ours, i, theirs)
				}
			}
			message := ws.Prepare(ws.Binary, make([]byte, 64))
			takeTurns(b, clients, 1, len(message.Frame()), func(i int) error { return open[i].SendPrepared(message) })
		})
	}
}

// BenchmarkNetworkAlone is the micro-benchmarks without a server: the same
// clients, and in its place a loop that makes the same calls of the network and
// does nothing else. What the server itself takes is the difference.
func BenchmarkNetworkAlone(b *testing.B) {
	for _, e := range exchanges {
		b.Run("Message/"+e.name, func(b *testing.B) {
			n := benchNetwork(b)
			addr, _ := serveShortened(b, n, len(e.question())-len(e.answer()))
			e.run(b, dialMany(b, n, addr, e.clients))
		})
	}
	b.Run("Upgrade", func(b *testing.B) {
		n := benchNetwork(b)
		addr, _ := serveNothing(b, n)
		upgrades(b, n, addr)
	})
	for _, receivers := range audiences {
		b.Run(fmt.Sprintf("Broadcast/%dconns", receivers), func(b *testing.B) {
			n := benchNetwork(b)
			addr, _ := serveNothing(b, n)
			clients := dialMany(b, n, addr, receivers)
			fds := make([]int, receivers)
			for i, c := range clients {
				fds[i] = c.ServerFD()
			}
			message := ws.Prepare(ws.Binary, make([]byte, 64)).Frame()
			takeTurns(b, clients, 1, len(message), func(i int) error {
				_, err := n.Write(fds[i], message)
				return err
			})
		})
	}
}

// benchNetwork is a network, with one processor to run on until the end of b.
func benchNetwork(b *testing.B) *simnet.Network {
	b.ReportAllocs()
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
	return simnet.New(simnet.Config{RealClock: true, RecvBuffer: 256 << 10, SendBuffer: 256 << 10})
}

// laps are the times that parts of a benchmark took, by operation.
type laps struct {
	start time.Time
	times []float64 // ns
}

func startLaps() *laps { return &laps{time.Now(), make([]float64, 0, 1<<17)} }

// done ends a lap of so many operations; the next begins.
func (l *laps) done(operations int) {
	now := time.Now()
	l.times = append(l.times, float64(now.Sub(l.start))/float64(operations))
	l.start = now
}

// report prints p1-ns/op, below which one lap of a hundred stayed. What else runs on
// the machine makes laps longer and never shorter: this holds still where ns/op does
// not. The garbage collector's part is in ns/op only.
func (l *laps) report(b *testing.B) {
	if len(l.times) == 0 {
		return // a benchmark of a few operations, to see that it works
	}
	slices.Sort(l.times)
	b.ReportMetric(l.times[len(l.times)/100], "p1-ns/op")
}
