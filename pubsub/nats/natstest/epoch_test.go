package natstest

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// TestBeyondEnd: who comes back with a position that the stream has not reached is not told that he has all.
func TestBeyondEnd(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, memory := range map[string]bool{"BEfile": false, "BEmemory": true} {
		for _, rule := range []pubsub.Rule{{Filter: "kept/#", Messages: 10}, {Filter: "other"}} {
			o := streamed(s.url(), name)
			o.Stream.Memory = memory
			h := startHost(t, o, rule)
			h.publish("kept/t", "0")
			last := h.publish("kept/t", "1")
			beyond := pubsub.Position{Epoch: last.Epoch, Number: last.Number + 100}
			for _, topic := range []string{"kept/t", "kept/none"} {
				if _, sub := h.subscribe(topic, pubsub.SubscribeOptions{Since: last}); !sub.Recovered {
					t.Errorf("%s, %s, %+v: since the end: %+v", name, topic, rule, sub)
				}
				if _, sub := h.subscribe(topic, pubsub.SubscribeOptions{Since: beyond}); sub.Recovered || sub.Sent > 0 {
					t.Errorf("%s, %s, %+v: since behind the end: %+v", name, topic, rule, sub)
				}
				if messages, complete, err := h.hub.History(topic, beyond, pubsub.HistoryBound{Messages: 5}); complete || len(messages) > 0 || err != nil {
					t.Errorf("%s, %s, %+v: the history behind the end: %v, %v, %v", name, topic, rule, messages, complete, err)
				}
			}
		}
	}
}

// sendUntilTaken sends numbers to a topic, each until NATS has it.
func (n *node) sendUntilTaken(topic string, first, last int) (p pubsub.Published) {
	n.t.Helper()
	for i := first; i <= last; i++ {
		eventually(n.t, "a message to be taken", func() bool {
			var err error
			p, err = n.Publish(n.t.Context(), pubsub.Message{Topic: topic, Payload: []byte(strconv.Itoa(i))}, pubsub.PublishOptions{})
			if err != nil && !errors.Is(err, nats.ErrDisconnected) && !errors.Is(err, nats.ErrNoStream) {
				n.t.Fatal(err)
			}
			return err == nil
		})
	}
	return p
}

// tells says whether it was told, behind one message of a topic and before another, that something may be missing of that.
func (n *node) tells(topic, behind, before string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	from, to := slices.Index(n.events, event{topic, behind}), slices.Index(n.events, event{topic, before})
	return from >= 0 && to > from && slices.Contains(n.events[from:to], event{topic, ""})
}

// TestRestartedInMemory: a stream in memory whose servers were all restarted begins at 1 again, though it is still the
// same to its cluster. Nodes go on with what it gets then, tell that something may be missing, and nobody who
// comes back over that is told that he has all, on nodes that come later neither.
func TestRestartedInMemory(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		t.Run(strconv.Itoa(replicas), func(t *testing.T) {
			t.Parallel()
			servers := startCluster(t)
			o := streamed("", "RM")
			o.URLs = []string{servers[0].url(), servers[1].url(), servers[2].url()}
			o.Stream.Memory, o.Stream.Replicas = true, replicas
			from, to := startNode(t, o), startNode(t, o)
			to.want("kept/t", "kept/old", "core")
			var before []pubsub.Position
			for i := range 10 {
				before = append(before, from.send("kept/t", strconv.Itoa(i)).Position)
			}
			to.last("kept/t", "9")
			var all sync.WaitGroup
			for _, s := range servers {
				all.Go(s.stop)
			}
			all.Wait()
			for _, s := range servers {
				all.Go(s.start)
			}
			all.Wait()
			from.sendUntilTaken("kept/t", 10, 29)
			from.sendUntilTaken("kept/old", 1, 1)
			to.last("kept/old", "1")
			to.last("kept/t", "29")
			if came, missing := to.gapless("kept/t"); came != 30 || missing != 0 || !to.tells("kept/t", "9", "10") {
				t.Errorf("%d came, %d are missing, %v", came, missing, to.missed)
			}
			eventually(t, "both nodes to agree", func() bool {
				epoch := from.Position("kept/t").Epoch
				return epoch != before[0].Epoch && epoch == to.Position("kept/t").Epoch
			})
			at := from.sendUntilTaken("kept/t", 30, 30).Position
			from.sendUntilTaken("kept/t", 31, 31)
			to.last("kept/t", "31")
			later := startNode(t, o)
			eventually(t, "a node that comes later to agree", func() bool { return later.Position("kept/t").Epoch == at.Epoch })
			later.want("kept/t")
			for i, n := range []*node{from, to, later} {
				if p := n.Position("kept/t"); p.Epoch != at.Epoch || p.Epoch == before[0].Epoch {
					t.Errorf("node %d is at %v, want as %v, not as %v", i, p, at, before[0])
				}
				if got, complete := history(t, n, "kept/t", before[8]); complete {
					t.Errorf("node %d: over the restart: %q, complete", i, got)
				}
				if got, complete := history(t, n, "kept/t", at); got != "31" || !complete {
					t.Errorf("node %d: behind the restart: %q, complete: %v", i, got, complete)
				}
			}
		})
	}
}

// TestRolledBack: a stream on disk that has lost its end gives the numbers of the lost messages again. That is noticed also when it
// has caught up, and what was there before does not come twice.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]int{"short": 20, "caught up": 30} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := startProxy(t, s.options.Port)
			from, to := startNode(t, streamed(s.url(), "RB")), startNode(t, streamed(p.url(), "RB"))
			to.want("kept/t")
			var before []pubsub.Position
			for i := range 10 {
				before = append(before, from.send("kept/t", strconv.Itoa(i)).Position)
			}
			to.last("kept/t", "9")
			s.stop()
			saved := t.TempDir()
			if err := os.CopyFS(saved, os.DirFS(s.options.StoreDir)); err != nil {
				t.Fatal(err)
			}
			s.start()
			from.sendUntilTaken("kept/t", 10, 19) // these are lost
			to.last("kept/t", "19")
			p.freeze()
			p.cut()
			s.stop()
			s.options.StoreDir = saved
			s.start()
			at := from.sendUntilTaken("kept/t", 20, first).Position
			p.thaw()
			eventually(t, "the loss to be told", func() bool { return to.misses("kept/t") > 0 })
			from.sendUntilTaken("kept/t", first+1, 40)
			to.last("kept/t", "40")
			if came, missing := to.gapless("kept/t"); came != 41 || missing != 0 || !to.tells("kept/t", "19", "20") {
				t.Errorf("%d came, %d are missing, %v", came, missing, to.missed)
			}
			if got, complete := history(t, to, "kept/t", before[5]); complete {
				t.Errorf("over the loss: %q, complete", got)
			}
			if now := to.Position("kept/t"); now.Epoch == before[0].Epoch {
				t.Errorf("%v, as before, and published at %v", now, at)
			}
		})
	}
}

// TestLeaderBehind: a leader that has other replicas may be behind them for a moment, and then nothing is told. If it stays so, or has none,
// the stream has lost its end.
func TestLeaderBehind(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ cluster, stays bool }{"LB1": {true, false}, "LB2": {true, true}, "LB3": {false, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
			r, other := &replica{t: t, name: name, cluster: tt.cluster, has: []uint64{6, 7, 8, 9, 10}}, dial(t, s.url())
			r.last.Store(5)
			r.answer(other)
			n := startNode(t, streamed(s.url(), name))
			n.want("kept/t")
			before := n.Position("kept/t")
			r.send(other, 10, time.Now())
			n.expect("kept/t", "10")
			if h, err := n.History(t.Context(), "kept/t", before, pubsub.HistoryBound{Messages: 1}); err == nil {
				t.Errorf("read of a stream that is behind: %+v", h)
			}
			if tt.stays {
				eventually(t, "the loss to be told", func() bool {
					r.look(other)
					return n.misses("kept/t") == 1
				})
				eventually(t, "the metadata to tell it", func() bool { return r.metadata()["millrace.incarnation"] == "1" })
			} else {
				r.look(other)
				r.last.Store(10)
				r.look(other)
			}
			r.send(other, 11, time.Now())
			n.last("kept/t", "11")
			if same := n.Position("kept/t").Epoch == before.Epoch; same == tt.stays || n.misses("kept/t") > 0 != tt.stays {
				t.Errorf("at %v, before at %v, told %d times", n.Position("kept/t"), before, n.misses("kept/t"))
			}
		})
	}
}

// TestEmptyInMemory: a stream of a cluster that is in memory, and empty though it is not a new one, may have been restarted together with
// all nodes: nobody is told that he has all since a position of before.
func TestEmptyInMemory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		memory, cluster bool
		age             time.Duration
		another         bool
	}{"EM1": {true, true, time.Hour, true}, "EM2": {true, true, time.Second, false}, "EM3": {true, false, time.Hour, false}, "EM4": {false, true, time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
			r := &replica{t: t, name: name, memory: tt.memory, cluster: tt.cluster, age: tt.age}
			r.answer(dial(t, s.url()))
			n := startNode(t, streamed(s.url(), name))
			n.want("kept/t")
			epoch := n.Position("kept/t").Epoch
			if _, another, _ := strings.Cut(epoch, "."); (another == "1") != tt.another {
				t.Errorf("the epoch is %q", epoch)
			}
			if tt.another {
				eventually(t, "the metadata to tell it", func() bool { return r.metadata()["millrace.incarnation"] == "1" })
			}
			later := startNode(t, streamed(s.url(), name))
			if !tt.another && later.Position("kept/t").Epoch != epoch {
				t.Errorf("a node that comes later is in another epoch than %q", epoch)
			}
		})
	}
}
