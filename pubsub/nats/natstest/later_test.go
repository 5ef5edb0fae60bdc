package natstest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server/servertest"
)

// startLater starts a node that has not found its stream when it began.
func startLater(t *testing.T, o nats.Options) *host {
	o.Retry = true
	h := startHost(t, o, pubsub.Rule{Filter: "kept/b", Messages: 100})
	if s := h.broker.Stats(); !s.Connected || s.StreamFound || s.StreamError == "" {
		t.Errorf("it has begun with %+v", s)
	}
	return h
}

// isLive checks that topics without the stream are, and that nothing is published to those of the stream, nor told to be recovered.
func isLive(t *testing.T, a, b *host, since pubsub.Position) {
	t.Helper()
	client, _ := b.subscribe("core/t", pubsub.SubscribeOptions{})
	a.publish("core/t", "live")
	if got := client.ReceiveText(); got != "live" {
		t.Errorf("%q", got)
	}
	for _, topic := range []string{"kept/a", "kept/b"} {
		began := time.Now()
		_, err := a.hub.Publish(t.Context(), pubsub.Message{Topic: topic, Payload: []byte("too early")}, pubsub.PublishOptions{})
		if !errors.Is(err, nats.ErrNoStream) || !errors.Is(err, pubsub.ErrUnavailable) || !strings.Contains(err.Error(), "has not been found yet") {
			t.Errorf("published to %s in %v: %v", topic, time.Since(began), err)
		}
		if _, sub := b.subscribe(topic, pubsub.SubscribeOptions{Since: since}); sub.Recovered || sub.Position != (pubsub.Position{}) {
			t.Errorf("%s since %v: %+v", topic, since, sub)
		}
		if messages, complete, err := b.hub.History(topic, since, pubsub.HistoryBound{}); complete || len(messages) > 0 || err == nil {
			t.Errorf("the history of %s: %v, %v, %v", topic, messages, complete, err)
		}
		if err := a.hub.Purge(topic); err == nil {
			t.Errorf("%s was purged", topic)
		}
	}
}

// takes waits until a node publishes to a topic of the stream.
func takes(t *testing.T, h *host, topic, text string) (at pubsub.Position) {
	t.Helper()
	eventually(t, "the stream to take a message", func() bool {
		p, err := h.hub.Publish(t.Context(), pubsub.Message{Topic: topic, Payload: []byte(text)}, pubsub.PublishOptions{})
		if at = p.Position; err != nil && !errors.Is(err, nats.ErrNoStream) && !errors.Is(err, nats.ErrDisconnected) {
			t.Fatal(err)
		}
		return err == nil
	})
	return at
}

// hasTold waits until a node has told that something may be missing of all these names.
func (h *host) hasTold(names ...string) {
	h.t.Helper()
	timeout := time.After(patience)
	for len(names) > 0 {
		select {
		case told := <-h.gaps:
			names = slices.DeleteFunc(names, func(name string) bool { return name == told })
		case <-timeout:
			h.t.Fatalf("waited in vain for it to tell a gap of %q", names)
		}
	}
}

// TestStreamLater: nodes whose servers have no JetStream yet begin without it, and the stream's topics follow when there is one.
func TestStreamLater(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
	o := streamed(s.url(), "SL8")
	a, b := startLater(t, o), startLater(t, o)
	var clients []*servertest.Client
	for _, name := range []string{"kept/a", "kept/+", "kept/b"} {
		client, _ := b.subscribe(name, pubsub.SubscribeOptions{})
		clients = append(clients, client)
	}
	isLive(t, a, b, pubsub.Position{Epoch: "old", Number: 5})
	s.stop()
	s.options.JetStream = true
	s.start()
	takes(t, a, "kept/other", "0")
	b.hasTold("kept/a", "kept/+", "kept/b")
	eventually(t, "the other node to find the stream, and its place in it", func() bool { return b.broker.Stats().StreamFound && b.broker.Stats().Unready == 0 })
	at := a.publish("kept/a", "1")
	a.publish("kept/b", "2")
	for i, want := range [][]string{{"1"}, {"1", "2"}, {"2"}} {
		for _, want := range want {
			got := clients[i].ReceiveText()
			for got == "0" { // it may have been there in time
				got = clients[i].ReceiveText()
			}
			if got != want {
				t.Errorf("client %d got %q, want %q", i, got, want)
			}
		}
	}
	if _, sub := b.subscribe("kept/a", pubsub.SubscribeOptions{Since: at}); !sub.Recovered {
		t.Errorf("behind the first message: %+v", sub)
	}
	if s := b.broker.Stats(); s.StreamError != "" {
		t.Errorf("%+v", s)
	}
}

// TestLeaderLater: nodes whose stream is there, but without a leader, begin without it. When it has one, who comes back with a position of before
// gets all, and who was there meanwhile was told.
func TestLeaderLater(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	o := streamed("", "LL")
	o.URLs, o.Stream.Replicas = []string{servers[0].url()}, 3
	first := startNode(t, o)
	var before []pubsub.Position
	for i := range 5 {
		before = append(before, first.send("kept/a", strconv.Itoa(i)).Position)
		first.send("kept/b", strconv.Itoa(i))
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		s.stop()
	}
	servers[0].start() // alone it has no leader
	a, b := startLater(t, o), startLater(t, o)
	isLive(t, a, b, before[1])
	servers[1].start()
	servers[2].start()
	takes(t, a, "kept/b", "5")
	eventually(t, "the other node to find the stream, and its place in it", func() bool { return b.broker.Stats().StreamFound && b.broker.Stats().Unready == 0 })
	b.hasTold("kept/a")
	a.publish("kept/a", "5")
	for _, topic := range []string{"kept/a", "kept/b"} {
		var client *servertest.Client
		var sub pubsub.Subscribed
		eventually(t, "a leader that answers", func() bool {
			client, sub = b.subscribe(topic, pubsub.SubscribeOptions{Since: before[1]})
			return sub.Recovered
		})
		var got []string
		for range sub.Sent {
			got = append(got, client.ReceiveText())
		}
		want := []string{"2", "3", "4", "5"}
		if topic == "kept/b" {
			want = append([]string{"1"}, want...) // it was published behind that position
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %q", topic, sub, got)
		}
	}
}

// TestServeLater: millrace serve begins without JetStream if it is to wait, says so where one looks for it, and refuses what needs the stream.
func TestServeLater(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
	flags := []string{"--nats", s.url(), "--nats-wait", "--nats-stream", "ROOMS rooms/# messages=100"}
	m, other := startServe(t, append(flags, "--nats-ready")...), startServe(t, flags...)
	url := "http://" + m.addr
	for _, at := range []string{m.addr, m.admin} {
		if got := ask(t, "GET", "http://"+at+"/readyz", ""); got != "503 the stream ROOMS has not been found yet\n" {
			t.Errorf("%q", got)
		}
	}
	if got := ask(t, "GET", "http://"+other.addr+"/readyz", ""); got != "200 ready\n" {
		t.Errorf("%q", got)
	}
	c, _, err := websocket.Dial(t.Context(), "ws://"+other.addr+"/topics/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	ask(t, "GET", "http://"+other.addr+"/history/a", "") // the subscription is there
	if got := ask(t, "POST", url+"/topics/a", "hello"); !strings.HasPrefix(got, "200 ") {
		t.Errorf("%q", got)
	}
	if _, data, err := c.Read(t.Context()); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	for method, target := range map[string]string{"POST": "/topics/rooms/hall", "GET": "/history/rooms/hall?since=old-1", "DELETE": "/history/rooms/hall"} {
		if got := ask(t, method, url+target, ""); !strings.HasPrefix(got, `503 {"error":"no_room"`) || !strings.Contains(got, "not there yet") {
			t.Errorf("%s %s: %q", method, target, got)
		}
	}
	if got := nodesOf(t, m).NATS; !got.Connected || got.StreamFound || !strings.Contains(got.StreamError, "JetStream is not enabled on the servers, or has no leader yet") {
		t.Errorf("%+v", got)
	}
	askFor(t, "millrace_nats_stream_unusable 1", "GET", "http://"+m.admin+"/metrics", "")
	if n := strings.Count(m.log.String(), `msg="the stream can not be used yet" stream=ROOMS err="nats: the stream ROOMS: JetStream is not enabled on the servers, or has no leader yet`); n != 1 {
		t.Errorf("told %d times:\n%s", n, m.log.String())
	}
	s.stop()
	s.options.JetStream = true
	s.start()
	askFor(t, "200 ready", "GET", url+"/readyz", "")
	askFor(t, "200 ", "POST", url+"/topics/rooms/hall", "hello")
	askFor(t, "millrace_nats_stream_unusable 0", "GET", "http://"+m.admin+"/metrics", "")
}

// TestServeRefused: what JetStream refuses ends the program, waiting or not.
func TestServeRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	js, err := jetstream.New(dial(t, s.url()))
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []jetstream.StreamConfig{{Name: "PLAIN", Subjects: []string{"plain.>"}}, {Name: "TAKEN", Subjects: []string{"millrace.taken.>"}}} {
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	account := natsserver.NewAccount("A")
	without := startServer(t, func(o *natsserver.Options) {
		o.Accounts = []*natsserver.Account{account}
		o.Users = []*natsserver.User{{Username: "me", Password: "pass", Account: account}}
	})
	me := strings.Replace(without.url(), "://", "://me:pass@", 1)
	for _, tt := range []struct{ url, stream, want string }{
		{s.url(), "PLAIN rooms/#", "the stream is not as it must be: PLAIN is there, but without AllowDirect"},
		{s.url(), "ROOMS taken/#", "JetStream refuses the stream ROOMS: nats: API error: code=400 err_code=10065"},
		{s.url(), "ROOMS rooms/# replicas=3", "JetStream refuses the stream ROOMS: nats: API error: code=500 err_code=10074"},
		{me, "ROOMS rooms/#", "JetStream refuses the stream ROOMS: nats: API error: code=503 err_code=10039"},
	} {
		for _, wait := range []string{"--nats-wait=off", "--nats-wait"} {
			got := serveFails(t, "--nats", tt.url, wait, "--nats-stream", tt.stream)
			if !strings.HasPrefix(got, "millrace serve: ") || !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
				t.Errorf("%s %s: %q, want %q", tt.stream, wait, got, tt.want)
			}
		}
	}
}
