package natstest

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// replica answers for a stream, on a server without JetStream. All its messages are of the topic kept/t.
type replica struct {
	t     *testing.T
	name  string
	last  atomic.Uint64 // number of the last message, as the leader says
	has   []uint64      // numbers of the messages that it gives, one at a time
	extra int           // how many it says are behind that
}

// answer has the replica answer, with another program's connection.
func (r *replica) answer(conn *natsgo.Conn) {
	for what, answer := range map[string]func(*natsgo.Msg) error{"STREAM.INFO": r.info, "DIRECT.GET": r.get} {
		if _, err := conn.Subscribe("$JS.API."+what+"."+r.name, func(m *natsgo.Msg) {
			if err := answer(m); err != nil {
				r.t.Error(err)
			}
		}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) info(m *natsgo.Msg) error {
	text, err := json.Marshal(jetstream.StreamInfo{
		Config: jetstream.StreamConfig{AllowDirect: true, RePublish: &jetstream.RePublish{Source: ">", Destination: "_live." + r.name + ".>"}},
		State:  jetstream.StreamState{LastSeq: r.last.Load()}, Created: time.Unix(1, 0),
	})
	if err != nil {
		return err
	}
	return m.Respond(text)
}

func (r *replica) get(m *natsgo.Msg) error {
	var request struct{ Seq uint64 }
	if err := json.Unmarshal(m.Data, &request); err != nil {
		return err
	}
	i := slices.IndexFunc(r.has, func(number uint64) bool { return number >= request.Seq })
	if i < 0 {
		return m.RespondMsg(&natsgo.Msg{Header: natsgo.Header{"Status": {"404"}}})
	}
	number := strconv.FormatUint(r.has[i], 10)
	if err := m.RespondMsg(&natsgo.Msg{
		Header: natsgo.Header{jetstream.SequenceHeader: {number}, jetstream.SubjectHeader: {r.name + ".kept.t"}}, Data: []byte(number),
	}); err != nil {
		return err
	}
	return m.RespondMsg(&natsgo.Msg{Header: natsgo.Header{"Status": {"204"}, "Nats-Num-Pending": {strconv.Itoa(r.extra)}}})
}

// TestSlowReplica: a node that catches up reads on while a replica gets one message after the other, and reads no more when
// what comes is behind the end.
func TestSlowReplica(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		last   uint64
		has    []uint64
		extra  int
		want   []string
		misses int
	}{
		"SR1": {5, []uint64{1, 2, 3, 4, 5}, 0, []string{"1", "2", "3", "4", "5"}, 0},
		"SR2": {3, []uint64{1, 2, 4}, 1000, []string{"1", "2"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
			r, other := &replica{t: t, name: name, has: tt.has, extra: tt.extra}, dial(t, s.url())
			r.answer(other)
			p := startProxy(t, s.options.Port)
			n := startNode(t, streamed(p.url(), name))
			n.want("kept/t", "other")
			r.last.Store(tt.last)
			p.cut()
			eventually(t, "another connection", func() bool { return n.Stats().Connects == 2 && n.Stats().Connected })
			n.Position("other")
			n.expect("kept/t", tt.want...)
			if err := other.Publish(name+".other", []byte("behind it")); err != nil {
				t.Fatal(err)
			}
			n.expect("other", "behind it")
			if n.misses("kept/t") != tt.misses {
				t.Errorf("told: %v", n.missed)
			}
		})
	}
}
