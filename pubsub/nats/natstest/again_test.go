package natstest

import (
	"strconv"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

// startReplica starts a replica of a cluster with so many messages, of which the leader knows none yet, and a node that wants what it has.
func startReplica(t *testing.T, r *replica, messages uint64) (*node, *natsgo.Conn, *proxy) {
	t.Helper()
	s := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
	other, p := dial(t, s.url()), startProxy(t, s.options.Port)
	r.t, r.cluster, r.many = t, true, true
	for number := uint64(1); number <= messages; number++ {
		r.has = append(r.has, number)
	}
	r.answer(other)
	n := startNode(t, streamed(p.url(), r.name))
	n.want("kept/t", "kept/quiet")
	return n, other, p
}

// come has a node get the messages between two numbers, but for the one of kept/quiet, and look at the stream.
func (r *replica) come(n *node, conn *natsgo.Conn, first, last uint64) {
	r.t.Helper()
	for number := first; number <= last; number++ {
		if number != r.quiet {
			r.send(conn, number, time.Now())
		}
	}
	r.last.Store(last)
	n.last("kept/t", strconv.FormatUint(last, 10))
	r.look(conn)
}

// TestLeaderMovesFast: of a stream with many messages a second nothing is lost, nor told, when its leader moves, though it has not sent one of
// those that it has stored.
func TestLeaderMovesFast(t *testing.T) {
	t.Parallel()
	const last = 12_000
	r := &replica{name: "MF", quiet: 11_500}
	n, other, _ := startReplica(t, r, last)
	r.come(n, other, 1, 100)
	time.Sleep(100 * time.Millisecond) // what is new in this has been gone through
	r.moved.Store(true)
	r.come(n, other, 101, last)
	n.expect("kept/quiet", "11500")
	if came := len(n.texts("kept/t")); came != last-1 || n.Stats().Gaps != 0 {
		t.Errorf("%d came, told: %v", came, n.missed)
	}
}

// TestWantedLate: what is stored just behind a topic's becoming of interest, and does not come, since other servers learn of that a moment later, is
// fetched, however much comes meanwhile.
func TestWantedLate(t *testing.T) {
	t.Parallel()
	r := &replica{name: "WL", quiet: 11_500}
	n, other, _ := startReplica(t, r, 12_000)
	r.come(n, other, 1, 12_000)
	n.expect("kept/quiet", "11500")
}

// TestWantedEarly: likewise when the first looks find that nothing was stored yet.
func TestWantedEarly(t *testing.T) {
	t.Parallel()
	r := &replica{name: "WE", quiet: 5}
	n, other, _ := startReplica(t, r, 10)
	for range 3 {
		r.look(other)
		time.Sleep(50 * time.Millisecond) // it is over
	}
	r.come(n, other, 1, 10)
	n.expect("kept/quiet", "5")
}

// TestNewWantsHoldNothingUp: behind a lost connection the stream's messages come, though there are always new topics for which the stream was not
// asked yet.
func TestNewWantsHoldNothingUp(t *testing.T) {
	t.Parallel()
	r := &replica{name: "NW", takes: 50 * time.Millisecond}
	n, other, p := startReplica(t, r, 10)
	p.cut()
	ending := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ending:
				return
			case <-time.After(5 * time.Millisecond):
				n.Interest("kept/new/"+strconv.Itoa(i), true)
			}
		}
	})
	defer all.Wait()
	defer close(ending)
	eventually(t, "another connection", func() bool { return n.Stats().Connects == 2 && n.Stats().Connected })
	r.last.Store(10)
	n.last("kept/t", "10")
	r.send(other, 11, time.Now())
	n.last("kept/t", "11")
}
