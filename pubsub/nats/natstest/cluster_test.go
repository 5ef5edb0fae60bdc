package natstest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// leader gives the server that leads a stream, -1 if there is none.
func leader(t *testing.T, js jetstream.JetStream, servers []*natsServer, name string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	found, err := js.Stream(ctx, name)
	if err != nil || found.CachedInfo().Cluster == nil {
		return -1
	}
	for i, s := range servers {
		if s.options.ServerName == found.CachedInfo().Cluster.Leader {
			return i
		}
	}
	return -1
}

// TestCluster: in a cluster of three, whose stream has three replicas, nothing of the stream is lost, nor comes
// twice, when its leader moves, and when servers end, the leader's among them.
func TestCluster(t *testing.T) {
	servers := startCluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url())
	}
	options := func(first int) nats.Options {
		o := streamed("", "CL")
		o.URLs = append(append([]string{}, urls[first:]...), urls[:first]...)
		o.Stream.Replicas = 3
		return o
	}
	nodes := []*node{startNode(t, options(0)), startNode(t, options(1)), startNode(t, options(2))}
	for _, n := range nodes {
		n.want("kept/t", "kept/+", "core")
	}
	conn := dial(t, urls[0])
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stop := publishing(nodes[0], "kept/t")
	more := func(what string) {
		t.Helper()
		before := len(nodes[0].texts("kept/t"))
		eventually(t, what, func() bool { return len(nodes[0].texts("kept/t")) > before+20 })
	}
	more("messages")
	if _, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN.CL", nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	more("messages of the next leader")
	for round := range 2 {
		at := -1
		eventually(t, "a leader", func() bool { at = leader(t, js, servers, "CL"); return at >= 0 })
		if round == 1 {
			at = (at + 1) % 3 // another one
		}
		servers[at].stop()
		more("messages without server " + strconv.Itoa(at))
		servers[at].start()
		eventually(t, "the server to be back", func() bool {
			return servers[at].JetStreamIsCurrent() && servers[at].JetStreamIsStreamCurrent("$G", "CL")
		})
	}
	more("messages at the end")
	sent := stop()
	for i, n := range nodes {
		n.last("kept/t", strconv.Itoa(sent-1))
		came, missing := n.gapless("kept/t")
		if came != sent || missing != 0 {
			t.Errorf("node %d: %d sent, %d came, %d are missing, %v", i, sent, came, missing, n.missed)
		}
		t.Logf("node %d: %d messages, %+v", i, came, n.Stats())
	}
}

// TestWithoutStream: nodes that have found their stream go on when there is no JetStream for a while, or it has no leader:
// all other topics live, new ones too, and those of the stream go on with it, with nothing lost, or told.
func TestWithoutStream(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	var nodes []*node
	for range 2 {
		o := streamed("", "WS")
		o.URLs = []string{servers[0].url(), servers[1].url(), servers[2].url()}
		o.Stream.Replicas = 3
		nodes = append(nodes, startNode(t, o))
	}
	from, to := nodes[0], nodes[1]
	to.want("kept/t", "kept/old", "core/t")
	from.send("kept/t", "0")
	to.expect("kept/t", "0")
	core := servers[1]
	core.stop()
	core.options.JetStream = false
	core.start()
	servers[0].stop()
	servers[2].stop()
	for _, n := range nodes {
		eventually(t, "a connection to the server that is left", func() bool { return n.Stats().Server == core.url() })
	}
	to.wantInVain("kept/new")
	live := func(when string) {
		t.Helper()
		missed := to.misses("core/t")
		for i := range 10 {
			topic := "core/" + when + strconv.Itoa(i)
			to.want(topic)
			from.send(topic, "new")
			to.expect(topic, "new")
			if n := to.misses(topic); n > 0 {
				t.Errorf("%s: missed %d times", topic, n)
			}
		}
		from.send("core/t", when)
		to.last("core/t", when)
		if n := to.misses("core/t"); n != missed {
			t.Errorf("missed %d times more", n-missed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := from.Publish(ctx, pubsub.Message{Topic: "kept/t", Payload: []byte("lost")}, pubsub.PublishOptions{}); !errors.Is(err, nats.ErrNoStream) && !errors.Is(err, pubsub.ErrUnknown) {
			t.Errorf("published to a stream that is not there: %v", err)
		}
	}
	eventually(t, "what a lost connection has missed to be told", func() bool { return to.misses("core/t") > 0 })
	live("without JetStream")
	servers[0].start()
	live("without a leader")
	servers[2].start()
	stops := map[string]func() int{}
	for _, topic := range []string{"kept/old", "kept/new"} {
		stops[topic] = publishing(from, topic)
	}
	for topic, stop := range stops {
		eventually(t, "messages of the stream", func() bool { return len(to.texts(topic)) > 20 })
		sent := stop()
		to.last(topic, strconv.Itoa(sent-1))
		if came, missing := to.gapless(topic); topic == "kept/old" && (missing != 0 || came != sent) {
			t.Errorf("%d sent, %d came, %d are missing", sent, came, missing)
		}
	}
	from.send("kept/t", "1")
	to.last("kept/t", "1")
	if n := to.misses("kept/t"); n != 0 {
		t.Errorf("missed %d times of the stream", n)
	}
}

// TestFoundServers: a node that was told of one server finds the others of its cluster, and does not forget them when it
// has connected to one of them; it is known there by the user of the one.
func TestFoundServers(t *testing.T) {
	servers := startCluster(t, func(o *natsserver.Options) { o.Username, o.Password = "me", "pass" })
	n := startNode(t, nats.Options{URLs: []string{strings.Replace(servers[0].url(), "://", "://me:pass@", 1)}})
	for connects := range uint64(2) {
		at := n.Stats().Server
		for _, s := range servers {
			if strings.HasSuffix(at, strings.TrimPrefix(s.url(), "nats://")) {
				s.stop()
			}
		}
		eventually(t, "the next server", func() bool {
			stats := n.Stats()
			return stats.Connected && stats.Connects == connects+2 && stats.Server != at
		})
	}
}
