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
