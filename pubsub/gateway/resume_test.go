package gateway_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
)

// TestResume has clients lose their connections at any moment while messages come, and come back from where they
// were, as docs/gateway.md tells clients to. Each sees every message of each topic once, in order, or was
// told that some are missing. Of "a" and "b" all is kept, of "brief" little.
func TestResume(t *testing.T) {
	t.Parallel()
	seeds := uint64(20)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		for name, run := range map[string]func(*resumed, *rand.Rand, []string){"envelopes": (*resumed).envelopes, "events": (*resumed).events} {
			t.Run(fmt.Sprint(name, seed), func(t *testing.T) {
				rules := []pubsub.Rule{{Filter: "brief", Messages: 3}, {Filter: "#", Messages: 1 << 20}}
				r := &resumed{rig: newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: rules}, nil)}
				r.run(seed, run)
			})
		}
	}
}

// TestResumeSlow is TestResume with clients that read too slowly, and with small queues from which messages are dropped. Who
// has seen a message behind dropped ones was told before it how many they were.
func TestResumeSlow(t *testing.T) {
	t.Parallel()
	seeds := uint64(5)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		for name, run := range map[string]func(*resumed, *rand.Rand, []string){"envelopes": (*resumed).envelopes, "events": (*resumed).events} {
			for policy, what := range map[server.QueuePolicy]string{server.DropNewest: "newest", server.DropOldest: "oldest"} {
				t.Run(fmt.Sprint(name, " drop ", what, seed), func(t *testing.T) {
					rules := []pubsub.Rule{{Filter: "brief", Messages: 3, Policy: policy}, {Filter: "#", Messages: 1 << 20, Policy: policy}}
					r := &resumed{slow: true, rig: newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: rules}, func(s *server.Server) {
						s.Limits.Message, s.Queue.Max = 8<<10, 20<<10
					})}
					r.run(seed, run)
					if r.missed.Load() < 50 {
						t.Errorf("only %d messages were told to be dropped", r.missed.Load())
					}
				})
			}
		}
	}
}

// all is how many messages each topic gets. The last one is kept in any case, so everybody sees it; slow clients see one behind it.
const all = 400

// resumed is one run.
type resumed struct {
	*rig
	slow   bool
	told   atomic.Int64
	came   atomic.Int64 // messages
	again  atomic.Int64 // connections
	missed atomic.Int64 // messages that were told to be dropped
	ended  atomic.Bool  // all clients have all

	published atomic.Int64
}

func (r *resumed) run(seed uint64, client func(*resumed, *rand.Rand, []string)) {
	var publishers, clients sync.WaitGroup
	for i, topics := range [][]string{{"a"}, {"brief"}, {"a", "b"}, {"a", "b", "brief"}, {"b"}} {
		clients.Go(func() { client(r, rand.New(rand.NewPCG(seed, uint64(i))), topics) })
	}
	for _, topic := range []string{"a", "b", "brief"} {
		publishers.Go(func() {
			for n := 1; n <= all || r.slow && !r.ended.Load(); n++ {
				text := strconv.Itoa(n)
				if r.slow {
					text = fmt.Sprintf("%02000d", n)
				}
				r.publish(topic, text)
				r.published.Add(1)
				for range 300 { // clients come and go meanwhile
					runtime.Gosched()
				}
			}
		})
	}
	clients.Wait()
	r.ended.Store(true)
	publishers.Wait()
	if r.again.Load() < 10 || r.came.Load() < 2*all {
		r.t.Errorf("%d messages on %d connections: too little has happened", r.came.Load(), r.again.Load())
	}
	r.t.Logf("%d messages on %d connections, told %d times that something is missing, and that %d were dropped", r.came.Load(), r.again.Load(), r.told.Load(), r.missed.Load())
}

// seen is what a client has seen of a topic.
type seen struct {
	position string
	last     int
	gap      bool // it was told that something may be missing
}

// dropped is how many messages a client was told to be dropped on its connection, without those that it has found to be missing.
type dropped struct {
	n     int
	alone bool // there is one topic, of which all is kept
}

// missing notes what a connection was told.
func (r *resumed) missing(d *dropped, n int) {
	d.n += n
	r.missed.Add(int64(n))
}

// dawdle has a slow client read nothing for a while, often: more is published than anything on the way has room for.
func (r *resumed) dawdle(random *rand.Rand) {
	if !r.slow || random.IntN(30) > 0 {
		return
	}
	for end := r.published.Load() + 150; r.published.Load() < end; {
		runtime.Gosched()
	}
}

// message notes a message's number.
func (r *resumed) message(s *seen, d *dropped, topic, position, data string) {
	n, err := strconv.Atoi(data)
	begins := topic == "brief" && s.last == 0 // with what is kept
	if hole := n - s.last - 1; !s.gap && !begins {
		if d.n -= hole; d.n < 0 || d.alone && d.n > 0 {
			r.t.Errorf("%s: message %d behind %d, told of dropped ones: %d more than are missing", topic, n, s.last, d.n)
		}
	}
	if err != nil || n <= s.last {
		r.t.Errorf("%s: message %d (%v) behind %d", topic, n, err, s.last)
	}
	r.came.Add(1)
	s.last, s.gap = n, false
	if position != "" {
		s.position = position
	}
}

// begins notes how a subscription begins.
func (r *resumed) begins(s *seen, position string, recovered bool) {
	if !recovered && s.position != "" {
		s.gap = true
		r.told.Add(1)
	}
	if position != "" {
		s.position = position
	}
}

// envelopes is a client that resumes by envelopes: a position for each topic.
func (r *resumed) envelopes(random *rand.Rand, topics []string) {
	state := map[string]*seen{}
	for _, topic := range topics {
		state[topic] = &seen{}
	}
	for !r.enough(slices.Collect(maps.Values(state))...) {
		r.again.Add(1)
		target := "/topics?envelope=1"
		inURL := random.IntN(2) == 0
		for _, topic := range topics {
			if inURL {
				target += "&last=100000&topic=" + topic + "&since=" + url.QueryEscape(state[topic].position)
			}
		}
		c := r.srv.Connect(target)
		if !inURL {
			for i, topic := range topics {
				text, _ := json.Marshal(map[string]any{"id": i + 1, "subscribe": topic, "since": state[topic].position, "last": 100000})
				c.SendText(string(text))
			}
		}
		r.readEnvelopes(c, random, state)
		c.Abort()
	}
}

// enough says whether a client is done: it has seen the last message of each topic. Slow ones may have got very few
// messages then.
func (r *resumed) enough(topics ...*seen) bool {
	for _, s := range topics {
		if s.last < all {
			return false
		}
	}
	return !r.slow || r.came.Load() >= 2*all && r.again.Load() >= 10
}

// readEnvelopes reads some, or to the end.
func (r *resumed) readEnvelopes(c *servertest.Client, random *rand.Rand, state map[string]*seen) {
	d := &dropped{alone: len(state) == 1 && state["brief"] == nil}
	for most := random.IntN(120); most > 0 && !r.enough(slices.Collect(maps.Values(state))...); most-- {
		r.dawdle(random)
		var m struct {
			ID, Missed            int
			OK, Recovered         bool
			Topic, Position, Data string
			Error                 string
			Sent                  *int
			Subscribed            *struct {
				Topic, Position string
				Recovered       bool
			}
		}
		c.ReceiveJSON(&m)
		switch {
		case m.Error != "":
			r.t.Error(m.Error)
		case m.Subscribed != nil:
			r.begins(state[m.Subscribed.Topic], m.Subscribed.Position, m.Subscribed.Recovered)
		case m.Missed > 0:
			r.missing(d, m.Missed)
		case m.OK:
			r.begins(state[m.Topic], m.Position, m.Recovered)
		default:
			r.message(state[m.Topic], d, m.Topic, m.Position, m.Data)
		}
	}
}

// events is a client that resumes as an EventSource does: one topic, by the last id.
func (r *resumed) events(random *rand.Rand, topics []string) {
	topic := topics[0]
	s := &seen{}
	for !r.enough(s) {
		r.again.Add(1)
		var lines []string
		if s.position != "" {
			lines = []string{"Last-Event-ID: " + s.position}
		}
		in := r.stream("/topics/"+topic+"?last=100000", lines...)
		d := &dropped{alone: topic != "brief"}
		for most := random.IntN(120); most > 0 && !r.enough(s); most-- {
			r.dawdle(random)
			e := in.next()
			if e.Name == "message" {
				r.message(s, d, topic, e.ID, string(e.Data))
				continue
			}
			if e.Name == "missed" {
				var m struct{ Missed int }
				if err := json.Unmarshal(e.Data, &m); err != nil || m.Missed < 1 {
					r.t.Errorf("%+v: %v", e, err)
				}
				r.missing(d, m.Missed)
				continue
			}
			var told struct{ Topics []struct{ Recovered bool } }
			if err := json.Unmarshal(e.Data, &told); err != nil || len(told.Topics) != 1 {
				r.t.Errorf("%+v: %v", e, err)
				return
			}
			r.begins(s, e.ID, told.Topics[0].Recovered)
		}
		in.end()
	}
}
