package natstest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/brokertest"
	"github.com/millrace/millrace/pubsub/nats"
)

// streamed are options with a stream for the topics below kept/.
func streamed(url, name string) nats.Options {
	return nats.Options{URLs: []string{url}, Prefix: name, Stream: &nats.Stream{Name: name, Topics: []string{"kept/#"}}}
}

// TestStreamContract holds the broker with a stream to what pubsub.Broker promises, with each way of
// interest.
func TestStreamContract(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, interest := range interests {
		t.Run(name, func(t *testing.T) {
			n := 0
			brokertest.Test(t, func(*testing.T) pubsub.Broker {
				n++
				name := fmt.Sprintf("C%d-%d", interest, n)
				return nats.New(nats.Options{URLs: []string{s.url()}, Prefix: name, Interest: interest, Logger: quiet(), Stream: &nats.Stream{Name: name, Topics: []string{"#"}}})
			})
		})
	}
}

// TestHistoryContract holds it to what pubsub.HistoryBroker promises.
func TestHistoryContract(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n := 0
	brokertest.TestHistory(t, "kept", func(*testing.T) pubsub.HistoryBroker {
		n++
		name := fmt.Sprint("H", n)
		return nats.New(nats.Options{URLs: []string{s.url()}, Prefix: name, Logger: quiet(), Stream: &nats.Stream{Name: name, Topics: []string{"kept/#"}}})
	})
}

// TestStreamForgets: of a topic whose oldest messages the stream has dropped nobody is told that none is missing, however
// few are read at once.
func TestStreamForgets(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "FO")
	o.Stream.Messages = 5
	n := startNode(t, o)
	before := n.send("kept/other", "stays").Position // and so does its place in the stream
	var all []pubsub.Position
	for i := range 20 {
		all = append(all, n.send("kept/a", strconv.Itoa(i)).Position)
	}
	for _, most := range []int{1, 2, 5, 100} {
		for since, complete := range map[pubsub.Position]bool{before: false, {}: false, all[14]: false /* it might be, but nothing shows it */, all[15]: true, all[17]: true} {
			h, err := n.History(t.Context(), "kept/a", since, pubsub.HistoryBound{Messages: most, Bytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if got := h.From.Number <= since.Number; got != complete {
				t.Errorf("%d behind %v: from %v, to %v; complete: %v", most, since, h.From, h.Through, got)
			}
		}
	}
}

// history asks a node for what is kept.
func history(t *testing.T, n *node, topic string, since pubsub.Position) (texts string, complete bool) {
	t.Helper()
	h, err := n.History(t.Context(), topic, since, pubsub.HistoryBound{Messages: 1000, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range h.Messages {
		all = append(all, string(m.Payload))
	}
	return strings.Join(all, " "), h.From.Number == since.Number && h.Through != pubsub.Position{}
}

// TestStreamHistory: any node has the past of a topic, and says whether it is complete behind a position, of
// whatever topic.
func TestStreamHistory(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "H")
	o.Stream.Messages = 5
	a, b := startNode(t, o), startNode(t, o)
	var at []pubsub.Position
	for i := range 8 {
		at = append(at, a.send("kept/a", strconv.Itoa(i)).Position)
		at = append(at, a.send("kept/b/"+strconv.Itoa(i), "x").Position)
	}
	few := a.send("kept/few", "1").Position
	a.send("kept/few", "2")
	a.send("other", "core")
	b.want("kept/a")
	end := b.Position("kept/a")
	for _, tt := range []struct {
		topic    string
		since    pubsub.Position
		want     string
		complete bool
	}{
		{"kept/a", at[14], "", true},
		{"kept/a", at[15], "", true}, // another topic's position
		{"kept/a", at[8], "5 6 7", true},
		{"kept/a", at[7], "4 5 6 7", true},
		{"kept/a", at[4], "3 4 5 6 7", false}, // nothing is missing, but this can't be proved
		{"kept/a", at[2], "3 4 5 6 7", false},
		{"kept/few", few, "2", true},
		{"kept/few", at[0], "1 2", true},
		{"kept/none", at[3], "", true},
		{"kept/few", pubsub.Position{}, "1 2", false}, // the stream's first message has gone
		{"kept/a", pubsub.Position{}, "3 4 5 6 7", false},
		{"kept/a", pubsub.Position{Epoch: at[0].Epoch, Number: end.Number + 1000}, "", false},
		{"kept/a", pubsub.Position{Epoch: "other", Number: 1}, "", false},
	} {
		if got, complete := history(t, b, tt.topic, tt.since); got != tt.want || complete != tt.complete {
			t.Errorf("%s since %v: %q, complete: %v, want %q, %v", tt.topic, tt.since, got, complete, tt.want, tt.complete)
		}
	}
	if h, err := b.History(t.Context(), "kept/a", at[8], pubsub.HistoryBound{Messages: 2, Bytes: 1}); err != nil || len(h.Messages) != 2 || h.From != at[8] || h.Through != at[12] || !h.More {
		t.Errorf("two of three: %+v, %v", h, err)
	}
	if _, err := a.Publish(t.Context(), pubsub.Message{Topic: "kept/few", Payload: []byte("3")}, pubsub.PublishOptions{NotKept: true}); err != nil {
		t.Fatal(err)
	}
	if got, complete := history(t, b, "kept/few", few); got != "2" || complete {
		t.Errorf("over a message that is not kept: %q, complete: %v", got, complete)
	}
	if !b.Keeps("kept/a") || b.Keeps("other") {
		t.Error("what is kept")
	}
}

// requests gives how often a node asks JetStream meanwhile, by subject.
func requests(t *testing.T, s *natsServer, n *node, do func()) map[string]int {
	t.Helper()
	other := dial(t, s.url())
	asked, err := other.SubscribeSync(">")
	if err != nil || other.Flush() != nil {
		t.Fatal(err)
	}
	do()
	n.send("done", "all") // behind all that it has asked
	requests := map[string]int{}
	for {
		m, err := asked.NextMsg(patience)
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.HasSuffix(m.Subject, ".done"):
			return requests
		case strings.HasPrefix(m.Subject, "$JS.API."):
			requests[m.Subject]++
		}
	}
}

// TestHistoryReadOnce: the messages behind a position are read once, whatever topic's position it is.
func TestHistoryReadOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *natsserver.Options) { o.MaxPayload = 8 << 20 })
	n := startNode(t, streamed(s.url(), "HO"))
	first := n.send("kept/a", "0").Position
	other := n.send("kept/b", "x").Position
	var want []string
	for i := range 300 {
		want = append(want, strconv.Itoa(i))
		n.send("kept/a", want[i])
	}
	for _, since := range []pubsub.Position{first, other} {
		asked := requests(t, s, n, func() {
			if got, complete := history(t, n, "kept/a", since); got != strings.Join(want, " ") || !complete {
				t.Errorf("since %v: %q, complete: %v", since, got, complete)
			}
		})
		if pages := asked["$JS.API.DIRECT.GET.HO"]; pages != 1+2 {
			t.Errorf("since %v: %v", since, asked)
		}
	}
	large := n.send("kept/a", strings.Repeat("x", 5<<20)).Position
	n.send("kept/a", "1")
	h, err := n.History(t.Context(), "kept/a", large, pubsub.HistoryBound{Messages: 10, Bytes: 1})
	if err != nil || len(h.Messages) != 1 || h.From != large || h.More {
		t.Errorf("behind a large message: %d messages, %v, %v, %v, %v", len(h.Messages), h.From, h.Through, h.More, err)
	}
}

// TestPurge: a purge drops the past for all nodes, and nobody who comes back over it is told that he has all.
func TestPurge(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b := startNode(t, streamed(s.url(), "P")), startNode(t, streamed(s.url(), "P"))
	b.want("kept/a")
	before := a.send("kept/a", "1").Position
	asked := requests(t, s, a, func() {
		if err := a.Purge(t.Context(), "kept/a"); err != nil {
			t.Fatal(err)
		}
	})
	if len(asked) != 2 || asked["$JS.API.STREAM.PURGE.P"] != 1 || asked["$JS.API.STREAM.INFO.P"] != 1 {
		t.Errorf("a purge asks %v", asked)
	}
	after := a.send("kept/a", "2").Position
	a.send("kept/a", "3")
	b.expect("kept/a", "1", "2", "3")
	if b.misses("kept/a") != 1 {
		t.Errorf("told: %v", b.missed)
	}
	if got, complete := history(t, b, "kept/a", before); got != "2 3" || complete {
		t.Errorf("over the purge: %q, complete: %v", got, complete)
	}
	if got, complete := history(t, b, "kept/a", after); got != "3" || !complete {
		t.Errorf("behind the purge: %q, complete: %v", got, complete)
	}
}

// TestRepeated: a message that is published again with the same id is stored once, and so is one whose
// answer was lost.
func TestRepeated(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.options.Port)
	a, b := startNode(t, streamed(p.url(), "R")), startNode(t, streamed(s.url(), "R"))
	b.want("kept/t")
	stop := publishing(a, "kept/t")
	for range 4 { // answers are lost with the connection
		before := len(b.texts("kept/t"))
		eventually(t, "messages", func() bool { return len(b.texts("kept/t")) > before+20 })
		p.cut()
	}
	sent := stop()
	b.last("kept/t", strconv.Itoa(sent-1))
	if came, missing := b.gapless("kept/t"); came != sent || missing != 0 {
		t.Errorf("%d sent, %d came, %d are missing", sent, came, missing)
	}
}

// TestStreamCatchesUp: whatever becomes of a node's connection, or of the server, it gets all messages of a
// stream, in order, once.
func TestStreamCatchesUp(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "U")
	a, b := startNode(t, o), startNode(t, o)
	b.want("kept/t", "kept/+", "#")
	stop := publishing(a, "kept/t")
	for round := range 6 {
		before := len(b.texts("kept/t"))
		eventually(t, "messages", func() bool { return len(b.texts("kept/t")) > before+50 })
		if round%2 == 0 {
			s.cut()
			continue
		}
		s.stop()
		s.start()
	}
	before := len(b.texts("kept/t"))
	eventually(t, "messages", func() bool { return len(b.texts("kept/t")) > before+50 })
	sent := stop()
	b.last("kept/t", strconv.Itoa(sent-1))
	if came, missing := b.gapless("kept/t"); came != sent || missing != 0 || b.misses("kept/t") != 0 || b.misses("kept/+") != 0 {
		t.Errorf("%d sent, %d came, %d are missing, %v", sent, came, missing, b.missed)
	}
	if b.misses("#") == 0 {
		t.Error("nobody has told that something else may be missing")
	}
}

// TestSlowNodeCatchesUp: a node that was too slow for a stream gets what it dropped from there.
func TestSlowNodeCatchesUp(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "SL")
	a := startNode(t, o)
	o.Pending = 50
	b := startNode(t, o)
	b.want("kept/t")
	b.mu.Lock()
	b.wait = make(chan struct{})
	b.mu.Unlock()
	const sent = 500
	for i := range sent {
		a.send("kept/t", strconv.Itoa(i))
	}
	b.mu.Lock()
	close(b.wait)
	b.wait = nil
	b.mu.Unlock()
	b.last("kept/t", strconv.Itoa(sent-1))
	if came, missing := b.gapless("kept/t"); came != sent || missing != 0 || b.Stats().Dropped == 0 {
		t.Errorf("%d came, %d are missing, %+v", came, missing, b.Stats())
	}
}

// TestGapFilled: a node that the stream's messages do not reach sees it by the next one, and fetches
// them.
func TestGapFilled(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "G")
	a, b := startNode(t, o), startNode(t, o)
	b.want("kept/t")
	a.send("kept/t", "0")
	b.expect("kept/t", "0")
	republish(t, s.url(), "G", "") // nobody gets what is stored now
	for i := range 600 {
		a.send("kept/t", strconv.Itoa(i+1))
	}
	republish(t, s.url(), "G", "_live.G.>")
	a.send("kept/t", "601")
	b.last("kept/t", "601")
	if came, missing := b.gapless("kept/t"); came != 602 || missing != 0 || b.Stats().Gaps != 0 {
		t.Errorf("%d came, %d are missing, %+v", came, missing, b.Stats())
	}
}

// republish changes where a stream's messages go.
func republish(t *testing.T, url, name, to string) {
	t.Helper()
	js, err := jetstream.New(dial(t, url))
	if err != nil {
		t.Fatal(err)
	}
	found, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	config := found.CachedInfo().Config
	config.RePublish = nil
	if to != "" {
		config.RePublish = &jetstream.RePublish{Source: ">", Destination: to}
	}
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// TestGapNotFilled: what the stream has not got any more is told.
func TestGapNotFilled(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "GN")
	o.Stream.Messages = 10
	a, b := startNode(t, o), startNode(t, o)
	b.want("kept/t")
	a.send("kept/t", "0")
	b.expect("kept/t", "0")
	republish(t, s.url(), "GN", "")
	for i := range 30 {
		a.send("kept/t", strconv.Itoa(i+1))
	}
	republish(t, s.url(), "GN", "_live.GN.>")
	a.send("kept/t", "31")
	b.last("kept/t", "31")
	if came, missing := b.gapless("kept/t"); came != 11 || missing != 21 || b.misses("kept/t") != 1 {
		t.Errorf("%d came, %d are missing, %v", came, missing, b.missed)
	}
}

// TestRecreated: a stream that was created anew is another epoch, and nobody is told that he has all.
func TestRecreated(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := streamed(s.url(), "E")
	a, b := startNode(t, o), startNode(t, o)
	b.want("kept/t")
	var before pubsub.Position
	for i := range 10 {
		before = a.send("kept/t", strconv.Itoa(i)).Position
	}
	b.last("kept/t", "9")
	js, err := jetstream.New(dial(t, s.url()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := js.Stream(t.Context(), "E")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "E"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 550*time.Millisecond) // which ends in the midst between two attempts
	defer cancel()
	if _, err := a.Publish(ctx, pubsub.Message{Topic: "kept/t", Payload: []byte("no stream")}, pubsub.PublishOptions{}); !errors.Is(err, nats.ErrNoStream) {
		t.Errorf("published without a stream: %v", err)
	}
	if err := a.Purge(t.Context(), "kept/t"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("purged without a stream: %v", err)
	}
	if _, err := a.History(t.Context(), "kept/t", pubsub.Position{}, pubsub.HistoryBound{Messages: 1}); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("read without a stream: %v", err)
	}
	if _, err := js.CreateStream(t.Context(), found.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	after := a.send("kept/t", "10").Position
	b.last("kept/t", "10")
	eventually(t, "the new epoch", func() bool { return b.Position("kept/t").Epoch == after.Epoch })
	if after.Epoch == before.Epoch || b.misses("kept/t") != 1 {
		t.Errorf("%v behind %v, told: %v", after, before, b.missed)
	}
	if got, complete := history(t, b, "kept/t", before); got != "" || complete {
		t.Errorf("over the new stream: %q, complete: %v", got, complete)
	}
	if m := b.got["kept/t"]; m[len(m)-1].Position != after {
		t.Errorf("%+v, want %v", m[len(m)-1], after)
	}
}

// TestStreamOthers: other programs publish to a stream's topics, and hear its messages, by the topics' own subjects.
func TestStreamOthers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n, other := startNode(t, streamed(s.url(), "O")), dial(t, s.url())
	n.want("kept/a/b", "kept/#")
	heard, err := other.SubscribeSync("O.kept.a.b")
	if err != nil || other.Flush() != nil {
		t.Fatal(err)
	}
	if err := other.Publish("O.kept.a.b", []byte("native")); err != nil {
		t.Fatal(err)
	}
	n.expect("kept/a/b", "native")
	n.send("kept/a/b", "ours")
	n.expect("kept/a/b", "native", "ours")
	for _, want := range []string{"native", "ours"} {
		if m, err := heard.NextMsg(patience); err != nil || string(m.Data) != want {
			t.Error(m, err)
		}
	}
}

// TestForgedHeaders: headers of another program that have the names of the server's own say nothing.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n, other := startNode(t, streamed(s.url(), "FH")), dial(t, s.url())
	n.want("kept/a", "kept/b")
	before := n.send("kept/a", "1").Position
	forged := natsgo.Header{"Status": {"204"}, "Nats-Num-Pending": {"7"}, jetstream.SubjectHeader: {"FH.kept.b"}, jetstream.SequenceHeader: {"1"},
		jetstream.LastSequenceHeader: {"99"}, jetstream.TimeStampHeaer: {time.Unix(1, 0).Format(time.RFC3339)}}
	for range 2 {
		if err := other.PublishMsg(&natsgo.Msg{Subject: "FH.kept.a", Data: []byte("forged"), Header: forged}); err != nil {
			t.Fatal(err)
		}
	}
	n.expect("kept/a", "1", "forged", "forged")
	for _, since := range []pubsub.Position{before, {}} {
		h, err := n.History(t.Context(), "kept/a", since, pubsub.HistoryBound{Messages: 100, Bytes: 1 << 20})
		if err != nil || len(h.Messages) < 2 || h.From.Number != since.Number {
			t.Errorf("behind %v: %+v, %v", since, h, err)
			continue
		}
		if last := h.Messages[len(h.Messages)-1]; last.Position.Number <= before.Number || time.Since(last.Time) > time.Hour {
			t.Errorf("the last is %+v", last)
		}
	}
	n.expect("kept/b")
}

// TestStreamThere: a stream that is there but can't serve is refused.
func TestStreamThere(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	js, err := jetstream.New(dial(t, s.url()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "T", Subjects: []string{"T.kept.>"}}); err != nil {
		t.Fatal(err)
	}
	o := streamed(s.url(), "T")
	o.Logger = quiet()
	b := nats.New(o)
	if err := b.Start(&node{}); err == nil || !strings.Contains(err.Error(), "AllowDirect") {
		t.Errorf("%v", err)
	}
	_ = b.Close()
}

// TestPurgedMeanwhile: what the stream has lost while a node was away is told, and the node goes on.
func TestPurgedMeanwhile(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.options.Port)
	a, b := startNode(t, streamed(s.url(), "PM")), startNode(t, streamed(p.url(), "PM"))
	b.want("kept/t")
	a.send("kept/t", "0")
	b.expect("kept/t", "0")
	p.freeze()
	p.cut()
	for i := range 5 {
		a.send("kept/t", strconv.Itoa(i+1))
	}
	js, err := jetstream.New(dial(t, s.url()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := js.Stream(t.Context(), "PM")
	if err != nil || found.Purge(t.Context()) != nil {
		t.Fatal(err)
	}
	p.thaw()
	eventually(t, "the loss to be told", func() bool { return b.misses("kept/t") == 1 })
	a.send("kept/t", "6")
	b.expect("kept/t", "0", "6")
	b.gapless("kept/t")
}

// TestFiltersChange: which filters meet a topic is known anew when they change.
func TestFiltersChange(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, interest := range interests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := streamed(s.url(), fmt.Sprint("FC", interest))
			o.Interest, o.Linger = interest, time.Millisecond
			n, other := startNode(t, o), startNode(t, o)
			n.want("kept/last")
			for round, filter := range []string{"+/a", "", "+/#", "kept/+", ""} {
				if filter != "" {
					n.want(filter)
				}
				before := len(n.texts("kept/a"))
				text := fmt.Sprint(round)
				other.send("kept/a", text)
				other.send("kept/last", text)
				n.last("kept/last", text)
				if came := len(n.texts("kept/a")) - before; filter != "" && came != 1 || filter == "" && came != 0 {
					t.Errorf("round %d, %q: %d came", round, filter, came)
				}
				if filter != "" {
					n.Interest(filter, false)
					eventually(t, "the filter to be left", func() bool { return n.Stats().Subscriptions == 1 })
				}
			}
		})
	}
}
