package natstest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/brokertest"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

var interests = map[string]nats.Interest{"by topic": nats.ByTopic, "by partition": nats.ByPartition, "all": nats.All}

// TestContract holds the broker to what pubsub.Broker promises, with each way of interest.
func TestContract(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, interest := range interests {
		t.Run(name, func(t *testing.T) {
			brokertest.Test(t, func(*testing.T) pubsub.Broker {
				return nats.New(nats.Options{URLs: []string{s.url()}, Prefix: fmt.Sprint("p", interest), Interest: interest, Logger: quiet()})
			})
		})
	}
}

// TestNodes: a message comes to each node that wants it, once, however many of its subscriptions meet it, and
// in the order of its publisher.
func TestNodes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, interest := range interests {
		t.Run(name, func(t *testing.T) {
			o := nats.Options{URLs: []string{s.url()}, Prefix: fmt.Sprint("n", interest), Interest: interest}
			a, b, c := startNode(t, o), startNode(t, o), startNode(t, o)
			a.want("a/b")
			b.want("a/b", "a/+", "+/b", "#", "a/#", "a")
			c.want("other", "x/+")
			b.want("a/b", "a/+", "+/b", "#", "a/#", "a") // filters are not waited for, but what comes behind them is
			var want []string
			for i := range 1000 {
				text := fmt.Sprint(i)
				a.send("a/b", text)
				want = append(want, text)
			}
			a.send("a", "above")
			a.send("other", "last")
			a.expect("a/b", want...)
			b.expect("a/b", want...)
			b.expect("a", "above")
			b.expect("other", "last")
			c.expect("other", "last")
			c.expect("a/b")
			for _, n := range []*node{a, b, c} {
				if n.misses("") != 0 || n.Stats().Gaps != 0 {
					t.Errorf("missed: %v, %+v", n.missed, n.Stats())
				}
			}
		})
	}
}

// TestOthers: other programs publish and subscribe with the subjects that the documentation says.
func TestOthers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n, other := startNode(t, nats.Options{URLs: []string{s.url()}}), dial(t, s.url())
	n.want("orders/eu/42", "#", "x.y")
	heard, err := other.SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*natsgo.Msg{
		{Subject: "orders.eu.42", Data: []byte("native")},
		{Subject: "x%2Ey", Data: []byte("\xff"), Header: natsgo.Header{"Millrace-Expires": {"nonsense"}, "Millrace-Policy": {"99"}}},
		{Subject: "_private.x", Data: []byte("no topic's")}, {Subject: "x%2ey", Data: []byte("no topic's either")},
	} {
		if err := other.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	n.expect("x.y", "\xff")
	n.expect("orders/eu/42", "native")
	if m := n.got["x.y"][0]; m.Opcode != ws.Binary {
		t.Errorf("%+v", m)
	}
	eventually(t, "what is no topic's to be counted", func() bool { return n.Stats().Foreign >= 2 })
	p, err := n.Publish(t.Context(), pubsub.Message{Topic: "orders/eu/42", Payload: []byte("ours"), Opcode: ws.Binary},
		pubsub.PublishOptions{SendOptions: server.SendOptions{Key: "a b\r\n%", Expires: 1500 * time.Millisecond, Policy: server.DropOldest}, NotKept: true})
	if err != nil || p.Members != 1 {
		t.Fatal(p, err)
	}
	for _, want := range []string{"native", "ours"} {
		m, err := heard.NextMsg(patience)
		if err != nil || string(m.Data) != want {
			t.Fatal(m, err)
		}
		if want == "ours" && fmt.Sprint(m.Header) != "map[Millrace-Binary:[1] Millrace-Expires:[1.5] Millrace-Key:[a%20b%0D%0A%25] Millrace-Not-Kept:[1] Millrace-Policy:[3]]" {
			t.Errorf("%v", m.Header)
		}
	}
}

// TestLinger: a topic that nobody wants any more is still subscribed to for a while, and one that is
// wanted again all the time.
func TestLinger(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n := startNode(t, nats.Options{URLs: []string{s.url()}, Prefix: "l", Linger: time.Millisecond})
	subscriptions := func() uint32 { return s.NumSubscriptions() }
	before := subscriptions()
	n.want("a", "b", "b/#")
	eventually(t, "3 subscriptions", func() bool { return subscriptions() == before+3 })
	for _, name := range []string{"a", "b", "b/#"} {
		n.Interest(name, false)
	}
	n.Interest("b", true)
	eventually(t, "1 subscription", func() bool { return subscriptions() == before+1 && n.Stats().Subscriptions == 1 })
	n.send("b", "local")
	other := startNode(t, nats.Options{URLs: []string{s.url()}, Prefix: "l"})
	other.send("b", "from afar")
	n.expect("b", "local", "from afar")
}

// TestFilterLeaves: a filter that comes and goes takes no message from a topic that it meets.
func TestFilterLeaves(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, interest := range interests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := nats.Options{URLs: []string{s.url()}, Prefix: strconv.Itoa(int(interest)), Interest: interest, Linger: time.Nanosecond}
			n, other := startNode(t, o), startNode(t, o)
			n.want("a/b")
			stop := publishing(other, "a/b")
			for range 100 {
				n.want("a/+")
				n.Interest("a/+", false)
				n.want("a/c") // the filter is told to the server before it
				n.Interest("a/c", false)
			}
			sent := stop()
			n.last("a/b", strconv.Itoa(sent-1))
			if came, missing := n.gapless("a/b"); missing != 0 || came != sent {
				t.Errorf("%d sent, %d came, %d are missing", sent, came, missing)
			}
		})
	}
}

// TestLeavesAtOnce: topics that come and go faster than the server is told of them leave nothing behind.
func TestLeavesAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n := startNode(t, nats.Options{URLs: []string{s.url()}, Prefix: "o", Linger: time.Nanosecond})
	before := s.NumSubscriptions()
	for i := range 10_000 {
		name := strconv.Itoa(i % 100)
		n.Interest(name, true)
		n.Interest(name, false)
	}
	n.want("last")
	eventually(t, "1 subscription", func() bool { return s.NumSubscriptions() == before+1 && n.Stats().Subscriptions == 1 })
}

// TestStartFails: what can't work is said in one line.
func TestStartFails(t *testing.T) {
	t.Parallel()
	down := fmt.Sprintf("nats://me:secret@127.0.0.1:%d", freePort(t))
	locked := startServer(t, func(o *natsserver.Options) { o.Username, o.Password = "me", "right" })
	dry := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
	plain := startServer(t)
	stream := &nats.Stream{Name: "S", Topics: []string{"a/#"}}
	for _, tt := range []struct {
		name string
		o    nats.Options
		want string
	}{
		{"nobody there", nats.Options{URLs: []string{down}}, "no servers available"},
		{"a wrong password", nats.Options{URLs: []string{strings.Replace(locked.url(), "//", "//me:wrong@", 1)}}, "Authorization Violation"},
		{"no JetStream", nats.Options{URLs: []string{dry.url()}, Stream: stream}, "the stream S"},
		{"a bad prefix", nats.Options{Prefix: "a..b"}, "Options.Prefix"},
		{"a stream of all subjects", nats.Options{Stream: &nats.Stream{Name: "S", Topics: []string{"#"}}}, "needs Options.Prefix"},
		{"a stream without name", nats.Options{Stream: &nats.Stream{Topics: []string{"a"}}}, "Options.Stream.Name"},
		{"a file that is not there", nats.Options{URLs: []string{plain.url()}, NKey: "/missing"}, "/missing"},
	} {
		tt.o.Logger = quiet()
		b := nats.New(tt.o)
		err := b.Start(&node{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if _, err := b.Publish(t.Context(), pubsub.Message{Topic: "a"}, pubsub.PublishOptions{}); !errors.Is(err, nats.ErrDisconnected) {
			t.Errorf("%s: published: %v", tt.name, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestTooBig: what NATS does not take is refused, and reaches nobody.
func TestTooBig(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *natsserver.Options) { o.MaxPayload = 1000 })
	n := startNode(t, nats.Options{URLs: []string{s.url()}})
	n.want("a")
	_, err := n.Publish(t.Context(), pubsub.Message{Topic: "a", Payload: make([]byte, 1001)}, pubsub.PublishOptions{})
	if !errors.Is(err, pubsub.ErrTooBig) {
		t.Errorf("%v, want ErrTooBig", err)
	}
	n.send("a", strings.Repeat("a", 1000))
	n.expect("a", strings.Repeat("a", 1000))
}
