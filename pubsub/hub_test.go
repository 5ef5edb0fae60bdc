package pubsub_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// rig is a server with a hub.
type rig struct {
	t     *testing.T
	srv   *servertest.Server
	hub   *pubsub.Hub
	conns chan *server.Conn
}

func newRig(t *testing.T, o pubsub.Options) *rig {
	t.Helper()
	return newRigWith(t, o, func(*server.Server) {})
}

func newRigWith(t *testing.T, o pubsub.Options, configure func(*server.Server)) *rig {
	t.Helper()
	r := &rig{t: t, conns: make(chan *server.Conn, 1)}
	srv := &server.Server{Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) { r.conns <- c }}}
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		return server.Accept{Enveloped: r.Path() == "/enveloped"}, nil
	}
	srv.Runtime.Loops = 2
	configure(srv)
	hub, err := pubsub.New(srv, o)
	if err != nil {
		t.Fatal(err)
	}
	r.hub, r.srv = hub, servertest.Start(t, srv)
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) connect() (*servertest.Client, *server.Conn) {
	r.t.Helper()
	client := r.srv.Connect("/")
	return client, <-r.conns
}

// subscribed connects and subscribes.
func (r *rig) subscribed(names ...string) (*servertest.Client, *server.Conn) {
	r.t.Helper()
	client, conn := r.connect()
	for _, name := range names {
		r.subscribe(conn, name, pubsub.SubscribeOptions{})
	}
	return client, conn
}

func (r *rig) subscribe(c *server.Conn, name string, o pubsub.SubscribeOptions) pubsub.Subscribed {
	r.t.Helper()
	s, err := r.hub.Subscribe(c, name, o)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) publish(topic, text string) pubsub.Published {
	r.t.Helper()
	p, err := r.hub.Publish(context.Background(), pubsub.Message{Topic: topic, Payload: []byte(text)}, pubsub.PublishOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// eventually waits until what is true.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func expectTexts(t *testing.T, c *servertest.Client, want ...string) {
	t.Helper()
	for _, text := range want {
		if got := c.ReceiveText(); got != text {
			t.Fatalf("got %q, want %q", got, text)
		}
	}
}

// TestPublish: who is subscribed to the topic, or to a filter that meets it, gets a message
// once; who is not, none.
func TestPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{})
	exact, _ := r.subscribed("a/b")
	wild, _ := r.subscribed("a/+")
	both, conn := r.subscribed("a/b", "a/#", "#", "+/b")
	other, _ := r.subscribed("a/c")
	if p := r.publish("a/b", "1"); p.Members != 6 || p.Position == (pubsub.Position{}) {
		t.Errorf("%+v, want 6 members and a position", p)
	}
	r.publish("x", "2")
	r.publish("a/c", "3")
	expectTexts(t, exact, "1")
	expectTexts(t, wild, "1", "3")
	expectTexts(t, both, "1", "2", "3")
	expectTexts(t, other, "3")
	for _, name := range []string{"a/#", "#", "+/b"} {
		if !r.hub.Unsubscribe(conn, name) || r.hub.Unsubscribe(conn, name) {
			t.Errorf("unsubscribed from %s not just once", name)
		}
	}
	r.publish("x", "4")
	r.publish("a/b", "5")
	expectTexts(t, both, "5")
	if s := r.hub.Stats(); s.Topics != 2 || s.Filters != 1 || s.Subscriptions != 4 || s.Published != 5 {
		t.Errorf("%+v", s)
	}
	if again := r.subscribe(conn, "a/b", pubsub.SubscribeOptions{}); !again.Again {
		t.Error("subscribed twice")
	}
}

// TestGoneTopics: a topic that nobody needs is not there any more, however its subscribers went.
func TestGoneTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{})
	a, connA := r.subscribed("a", "b/+")
	_, connB := r.subscribed("a", "c")
	r.hub.SetUser(connA, "me")
	a.Abort()
	connB.CloseNow()
	r.eventually("nothing to be left", func() bool { return r.hub.Stats() == pubsub.Stats{} })
	if _, err := r.hub.Subscribe(connB, "a", pubsub.SubscribeOptions{}); !errors.Is(err, server.ErrClosed) {
		t.Errorf("subscribed behind its end: %v", err)
	}
	if s := r.hub.Stats(); s != (pubsub.Stats{}) {
		t.Errorf("%+v is left of a subscription that failed", s)
	}
}

// TestRefused: what is refused has a reason, and reaches nobody.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Limits: pubsub.Limits{Topics: 2, Filters: 1, Payload: 10}})
	client, conn := r.subscribed("a", "b/+")
	_, other := r.connect()
	for _, tt := range []struct {
		conn *server.Conn
		name string
		want error
	}{
		{conn, "c", pubsub.ErrTooMany}, {other, "c/+", pubsub.ErrFull}, {other, "c+", pubsub.ErrName}, {other, "", pubsub.ErrName},
	} {
		if _, err := r.hub.Subscribe(tt.conn, tt.name, pubsub.SubscribeOptions{}); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := r.hub.Subscribe(other, "a", pubsub.SubscribeOptions{Info: []byte("{")}); !errors.Is(err, pubsub.ErrInfo) {
		t.Errorf("bad info: %v", err)
	}
	for _, tt := range []struct {
		m    pubsub.Message
		want error
	}{
		{pubsub.Message{Topic: "+"}, pubsub.ErrName}, {pubsub.Message{Topic: "$presence/a"}, pubsub.ErrName},
		{pubsub.Message{Topic: "a", Payload: make([]byte, 11)}, pubsub.ErrTooBig},
		{pubsub.Message{Topic: "a", Opcode: ws.Ping}, server.ErrOpcode},
	} {
		if _, err := r.hub.Publish(t.Context(), tt.m, pubsub.PublishOptions{}); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.m, err, tt.want)
		}
	}
	r.publish("a", "last")
	expectTexts(t, client, "last")
	if _, err := pubsub.New(&server.Server{}, pubsub.Options{Rules: []pubsub.Rule{{Filter: "a#"}}}); !errors.Is(err, pubsub.ErrName) {
		t.Errorf("a bad rule: %v", err)
	}
}

// TestPublishRate: who publishes too much is told, others are not.
func TestPublishRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Limits: pubsub.Limits{PublishRate: 1, PublishBurst: 3}})
	_, fast := r.connect()
	_, slow := r.connect()
	from := func(c *server.Conn) error {
		_, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: "a"}, pubsub.PublishOptions{From: c})
		return err
	}
	var refused int
	for range 20 {
		if err := from(fast); errors.Is(err, pubsub.ErrTooFast) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused < 10 || refused > 17 || r.hub.Stats().TooFast != uint64(refused) {
		t.Errorf("%d of 20 refused, %+v", refused, r.hub.Stats())
	}
	if err := from(slow); err != nil {
		t.Error(err)
	}
	r.publish("a", "the application's own")
}

// TestHistory: who comes back with a position gets what is kept behind it, before all else, or
// is told that something is missing.
func TestHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "kept/#", Messages: 5}}})
	var at []pubsub.Position
	for i := range 8 {
		at = append(at, r.publish("kept/a", strconv.Itoa(i)).Position)
		r.publish("not", "x")
	}
	for _, tt := range []struct {
		name      string
		o         pubsub.SubscribeOptions
		want      string
		recovered bool
	}{
		{"nothing asked for", pubsub.SubscribeOptions{}, "", false},
		{"all there", pubsub.SubscribeOptions{Since: at[4]}, "5 6 7", true},
		{"just all there", pubsub.SubscribeOptions{Since: at[2]}, "3 4 5 6 7", true},
		{"one is missing", pubsub.SubscribeOptions{Since: at[1]}, "3 4 5 6 7", false},
		{"nothing missed", pubsub.SubscribeOptions{Since: at[7]}, "", true},
		{"another epoch", pubsub.SubscribeOptions{Since: pubsub.Position{Epoch: "other", Number: at[7].Number}}, "3 4 5 6 7", false},
		{"the future", pubsub.SubscribeOptions{Since: pubsub.Position{Epoch: at[7].Epoch, Number: at[7].Number + 100}}, "", false},
		{"the last two", pubsub.SubscribeOptions{Last: 2}, "6 7", false},
		{"more than there are", pubsub.SubscribeOptions{Last: 20}, "3 4 5 6 7", false},
	} {
		client, conn := r.connect()
		s := r.subscribe(conn, "kept/a", tt.o)
		want := strings.Fields(tt.want)
		if s.Recovered != tt.recovered || s.Sent != len(want) || s.Position != at[7] {
			t.Errorf("%s: %+v, want recovered: %v, %d sent", tt.name, s, tt.recovered, len(want))
		}
		_ = conn.SendText("end")
		expectTexts(t, client, append(want, "end")...)
		r.hub.Unsubscribe(conn, "kept/a")
	}
	if m, complete, err := r.hub.History("kept/a", at[3], pubsub.HistoryBound{Messages: 2}); err != nil || !complete || len(m) != 2 || string(m[1].Payload) != "5" || m[1].Position != at[5] {
		t.Errorf("%v, complete: %v, %v", m, complete, err)
	}
	if err := r.hub.Purge("kept/a"); err != nil {
		t.Fatal(err)
	}
	if s := r.hub.Stats(); s.Topics != 0 || s.HistoryBytes != 0 {
		t.Errorf("purged: %+v", s)
	}
	_, conn := r.connect()
	if s := r.subscribe(conn, "kept/a", pubsub.SubscribeOptions{Since: at[5]}); s.Recovered || s.Sent != 0 {
		t.Errorf("recovered behind a purge: %+v", s)
	}
	_, _ = r.hub.Publish(t.Context(), pubsub.Message{Topic: "kept/b"}, pubsub.PublishOptions{NotKept: true})
	if s := r.hub.Stats(); s.HistoryBytes != 0 {
		t.Errorf("%+v of a message that is not to be kept", s)
	}
}

// TestHistoryBounds: what is too old, too much for its topic, or too much for all goes, the
// oldest first.
func TestHistoryBounds(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{
		Rules:  []pubsub.Rule{{Filter: "short/#", Messages: 100, Age: 50 * time.Millisecond}, {Filter: "small", Messages: 100, Bytes: 25}, {Filter: "#", Messages: 100}},
		Limits: pubsub.Limits{History: 8000},
	})
	count := func(name string) int {
		m, _, err := r.hub.History(name, pubsub.Position{}, pubsub.HistoryBound{Messages: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(m)
	}
	for range 5 {
		r.publish("small", "0123456789")
	}
	if n := count("small"); n != 2 {
		t.Errorf("%d messages of 10 bytes within 25", n)
	}
	r.publish("short/a", "x")
	r.eventually("what is old to go", func() bool { return count("short/a") == 0 })
	r.publish("first", "x")
	for i := range 100 {
		r.publish("many/"+strconv.Itoa(i), "x")
	}
	if s := r.hub.Stats(); s.HistoryBytes > 8000 || s.HistoryBytes < 7000 {
		t.Errorf("%d bytes are kept", s.HistoryBytes)
	}
	first := 0
	for ; first < 100 && count("many/"+strconv.Itoa(first)) == 0; first++ {
	}
	for i := range 100 {
		if n := count("many/" + strconv.Itoa(i)); i >= first && n != 1 {
			t.Errorf("message %d is gone, though %d is kept", i, first)
		}
	}
	if count("first") != 0 || count("small") != 0 || first > 90 {
		t.Errorf("it was not the oldest that went: %d is the first of many", first)
	}
	r.eventually("topics without messages to go", func() bool { return r.hub.Stats().Topics == 100-first })
}

// TestPresence: members are told by name, and who comes and goes is told to whoever is
// subscribed for that.
func TestPresence(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "room/+", Presence: true}}})
	watcher, _ := r.subscribed("$presence/room/1")
	all, _ := r.subscribed("$presence/#")
	client, conn := r.connect()
	r.hub.SetUser(conn, "ann")
	r.subscribe(conn, "room/1", pubsub.SubscribeOptions{Info: []byte(`{"age":3}`)})
	_, other := r.subscribed("room/1", "hall")
	members := r.hub.Members("room/1")
	if len(members) != 2 || r.hub.Count("room/1") != 2 || r.hub.Count("hall") != 1 || r.hub.Members("hall") == nil || len(r.hub.Members("hall")) != 0 {
		t.Errorf("members %+v", members)
	}
	client.Abort()
	r.eventually("one to go", func() bool { return r.hub.Count("room/1") == 1 })
	r.hub.Unsubscribe(other, "room/1")
	type event struct {
		Event, Topic string
		Member       struct {
			ID, User string
			Info     json.RawMessage
		}
	}
	for _, c := range []*servertest.Client{watcher, all} {
		var events []string
		for range 4 {
			var e event
			c.ReceiveJSON(&e)
			if e.Topic != "room/1" || e.Member.ID == "" {
				t.Errorf("%+v", e)
			}
			events = append(events, e.Event+" "+e.Member.User+string(e.Member.Info))
		}
		if want := []string{`join ann{"age":3}`, "join ", `leave ann{"age":3}`, "leave "}; !slices.Equal(events, want) {
			t.Errorf("%q, want %q", events, want)
		}
	}
}

// TestResume has connections that come and go, with the position that they were at, while
// others publish: each gets all messages, in order, once.
func TestResume(t *testing.T) {
	t.Parallel()
	r := newRig(t, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 100_000}}})
	const clients, messages = 6, 3000
	var all sync.WaitGroup
	positions := make([]pubsub.Position, messages)
	start := r.publish("t", "start").Position
	all.Go(func() {
		for i := range messages {
			positions[i] = r.publish("t", strconv.Itoa(i)).Position
		}
	})
	var connecting sync.Mutex
	for i := range clients {
		all.Go(func() {
			since, next := start, 0
			for round := 0; next < messages; round++ {
				connecting.Lock()
				client, conn := r.connect()
				connecting.Unlock()
				s, err := r.hub.Subscribe(conn, "t", pubsub.SubscribeOptions{Since: since})
				if err != nil || !s.Recovered {
					t.Errorf("client %d: %+v, %v", i, s, err)
					return
				}
				for n := 0; next < messages && n < 50+100*i+round; n++ {
					if got := client.ReceiveText(); got != strconv.Itoa(next) {
						t.Errorf("client %d got %s, want %d", i, got, next)
						return
					}
					next++
				}
				h, _, err := r.hub.History("t", start, pubsub.HistoryBound{Messages: messages})
				if err != nil || next > 0 && len(h) < next {
					t.Errorf("%d are kept of %d: %v", len(h), next, err)
					return
				}
				if next > 0 {
					since = h[next-1].Position
				}
				client.Abort()
			}
		})
	}
	all.Wait()
}

// lossy is a broker whose receiver is at hand.
type lossy struct {
	pubsub.Broker
	receiver pubsub.Receiver
}

func (l *lossy) Start(r pubsub.Receiver) error {
	l.receiver = r
	return l.Broker.Start(r)
}

// TestMissed: when the broker says that something may be missing, nobody who was there before is
// told that he has all; who was there after it is.
func TestMissed(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"a", ""} {
		b := &lossy{Broker: pubsub.InProcess()}
		r := newRig(t, pubsub.Options{Broker: b, Rules: []pubsub.Rule{{Filter: "#", Messages: 10}}})
		_, _ = r.subscribed("a") // so that the topic stays
		before := r.publish("a", "1").Position
		b.receiver.Missed(topic)
		again := func(since pubsub.Position) pubsub.Subscribed {
			_, conn := r.connect()
			return r.subscribe(conn, "a", pubsub.SubscribeOptions{Since: since})
		}
		if again(before).Recovered {
			t.Error("recovered behind a gap")
		}
		after := r.publish("a", "2").Position
		if s := again(before); s.Recovered || s.Sent != 1 {
			t.Errorf("recovered over a gap: %+v", s)
		}
		r.publish("a", "3")
		if s := again(after); !s.Recovered || s.Sent != 1 {
			t.Errorf("not recovered behind the gap: %+v", s)
		}
		if r.hub.Stats().Missed != 1 {
			t.Errorf("%+v", r.hub.Stats())
		}
		if err := r.hub.Close(); err != nil {
			t.Error(err)
		}
	}
}
