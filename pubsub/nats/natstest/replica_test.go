package natstest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// replica answers for a stream, on a server without JetStream. Its messages are of the topic kept/t, but for one.
type replica struct {
	t     *testing.T
	name  string
	last  atomic.Uint64 // number of the last message, as the leader says
	has   []uint64      // numbers of the messages that it gives, one at a time, or as many as are asked for
	many  bool          // the latter
	quiet uint64        // number of the one of kept/quiet
	extra int           // how many it says are behind that

	memory, cluster bool          // kept in memory; one of three servers
	asked           atomic.Int64  // times that its leader was asked how it is
	age             time.Duration // when its leader is asked
	takes           time.Duration // to say how it is
	moved           atomic.Bool   // it has another leader

	mu   sync.Mutex
	told map[string]string // its metadata
}

// answer has the replica answer, with another program's connection.
func (r *replica) answer(conn *natsgo.Conn) {
	gone := func(m *natsgo.Msg) error { return m.Respond([]byte(`{"error": {"code": 404}}`)) } // its leader has dropped all messages
	for what, answer := range map[string]func(*natsgo.Msg) error{"STREAM.INFO": r.info, "STREAM.UPDATE": r.update, "STREAM.MSG.GET": gone, "DIRECT.GET": r.get} {
		if _, err := conn.Subscribe("$JS.API."+what+"."+r.name, func(m *natsgo.Msg) {
			if err := answer(m); err != nil && r.t.Context().Err() == nil {
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
	info := jetstream.StreamInfo{
		Config: jetstream.StreamConfig{AllowDirect: true, RePublish: &jetstream.RePublish{Source: ">", Destination: "_live." + r.name + ".>"}},
		State:  jetstream.StreamState{LastSeq: r.last.Load()}, Created: time.Unix(1, 0),
	}
	if r.memory {
		info.Config.Storage = jetstream.MemoryStorage
	}
	if r.cluster {
		info.Cluster = &jetstream.ClusterInfo{Name: "test", Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b"}, {Name: "c"}}}
		if r.moved.Load() {
			info.Cluster.Leader = "b"
		}
	}
	info.TimeStamp = info.Created.Add(r.age)
	info.Config.Metadata = r.metadata()
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	r.asked.Add(1)
	select {
	case <-time.After(r.takes):
	case <-r.t.Context().Done():
		return nil
	}
	return m.Respond(text)
}

// update takes another configuration. It looks at its metadata.
func (r *replica) update(m *natsgo.Msg) error {
	var config jetstream.StreamConfig
	if err := json.Unmarshal(m.Data, &config); err != nil {
		return err
	}
	if !config.AllowDirect || config.RePublish == nil {
		r.t.Errorf("%s is to be the configuration", m.Data)
	}
	r.mu.Lock()
	r.told = config.Metadata
	r.mu.Unlock()
	return m.Respond([]byte("{}"))
}

func (r *replica) metadata() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.told)
}

// look has nodes look at the stream, and waits until they have asked how it is.
func (r *replica) look(conn *natsgo.Conn) {
	r.t.Helper()
	before := r.asked.Load()
	if err := conn.Publish("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."+r.name, nil); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "a look at the stream", func() bool { return r.asked.Load() > before })
}

// send sends a message as the stream does when it has stored it.
func (r *replica) send(conn *natsgo.Conn, number uint64, at time.Time) {
	r.t.Helper()
	text := strconv.FormatUint(number, 10)
	if err := conn.PublishMsg(&natsgo.Msg{Subject: "_live." + r.name + "." + r.name + ".kept.t", Data: []byte(text), Header: natsgo.Header{
		jetstream.SequenceHeader: {text}, jetstream.TimeStampHeaer: {at.Format(time.RFC3339Nano)},
	}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) get(m *natsgo.Msg) error {
	request := struct{ Seq, Batch uint64 }{}
	if err := json.Unmarshal(m.Data, &request); err != nil {
		return err
	}
	i := slices.IndexFunc(r.has, func(number uint64) bool { return number >= request.Seq })
	if i < 0 {
		return m.RespondMsg(&natsgo.Msg{Header: natsgo.Header{"Status": {"404"}}})
	}
	page, extra := r.has[i:i+1], r.extra
	if r.many {
		page = r.has[i:min(i+int(request.Batch), len(r.has))]
		extra = len(r.has) - i - len(page)
	}
	for _, n := range page {
		number, subject := strconv.FormatUint(n, 10), r.name+".kept.t"
		if n == r.quiet {
			subject = r.name + ".kept.quiet"
		}
		if err := m.RespondMsg(&natsgo.Msg{
			Header: natsgo.Header{jetstream.SequenceHeader: {number}, jetstream.SubjectHeader: {subject}}, Data: []byte(number),
		}); err != nil {
			return err
		}
	}
	return m.RespondMsg(&natsgo.Msg{Header: natsgo.Header{"Status": {"204"}, "Nats-Num-Pending": {strconv.Itoa(extra)}}})
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
