package server_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// joining echoes, and has connections join a group when there is one.
type joining struct {
	echo
	group *atomic.Pointer[server.Group]
}

func (j joining) Open(c *server.Conn) {
	if g := j.group.Load(); g != nil {
		_, _ = g.Join(c) // the benchmark looks how many have
	}
}

// serveGroup serves an echo to connections of which some, the last, are members of a group.
func serveGroup(b *testing.B, network *simnet.Network, others, members int) (g *server.Group, clients []*simnet.Conn, srv *server.Server) {
	var group atomic.Pointer[server.Group]
	srv = &server.Server{Handler: joining{group: &group}}
	srv.Runtime.Loops = 2
	g = srv.NewGroup(server.GroupOptions{Policy: server.DropOldest})
	addr, _ := serveOn(b, network, srv)
	clients = dialMany(b, network, addr, others)
	group.Store(g)
	clients = append(clients, dialMany(b, network, addr, members)...)
	eventually(b, "all are members", func() bool { return g.Len() == members })
	idle(b, network)
	return g, clients, srv
}

// BenchmarkBesideGroup is a round trip a millisecond on connections, while a group of a million others gets
// no messages or ten a second. p50-us and p99-us are of the round trip. Run it with -benchtime 2000x.
func BenchmarkBesideGroup(b *testing.B) {
	const members, others = 1_000_000, 100
	needMemory(b, 4*members)
	network := simnet.New(simnet.Config{RealClock: true, Preallocate: members})
	g, clients, _ := serveGroup(b, network, others, members)
	c := &crowd{network: network, clients: clients[:others]}
	message := ws.Prepare(ws.Binary, []byte("a price"))
	for _, perSecond := range []int{0, 10} {
		b.Run(fmt.Sprintf("messages=%d", perSecond), func(b *testing.B) {
			answer := make([]byte, 64)
			var times []time.Duration
			sent, began := 0, time.Now()
			for b.Loop() {
				time.Sleep(time.Millisecond)
				for ; float64(sent) < time.Since(began).Seconds()*float64(perSecond); sent++ {
					if _, err := g.Send(message); err != nil {
						b.Fatal(err)
					}
				}
				start := time.Now()
				c.echo(b, answer)
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*50/100].Microseconds()), "p50-us")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkStalledMembers is a message of 1 KiB to 10,000 members, until all who read have it, with 0 or 1,000
// members that do not read. outbound-B is what waits, on the account.
func BenchmarkStalledMembers(b *testing.B) {
	const members, size = 10_000, 1 << 10
	for _, stalled := range []int{0, 1000} {
		b.Run(fmt.Sprintf("stalled=%d", stalled), func(b *testing.B) {
			network := simnet.New(simnet.Config{Preallocate: members})
			g, clients, srv := serveGroup(b, network, 0, members)
			message := ws.Prepare(ws.Binary, make([]byte, size))
			for range 100 { // those who stall have full windows then
				sendAndRead(b, network, g, message, clients[stalled:])
			}
			var times []time.Duration
			for b.Loop() {
				times = append(times, sendAndRead(b, network, g, message, clients[stalled:]))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(srv.Stats().Backlog), "outbound-B")
		})
	}
}

// sendAndRead sends a message to a group, and gives how long that took for all who read.
func sendAndRead(b *testing.B, network *simnet.Network, g *server.Group, message *ws.Prepared, readers []*simnet.Conn) time.Duration {
	start := time.Now()
	if _, err := g.Send(message); err != nil {
		b.Fatal(err)
	}
	idle(b, network)
	took := time.Since(start)
	buf := make([]byte, 2*len(message.Frame()))
	for _, c := range readers {
		if n, err := c.TryRead(buf); n != len(message.Frame()) || err != nil && !errors.Is(err, poller.ErrAgain) {
			b.Fatal(n, err)
		}
	}
	return took
}
