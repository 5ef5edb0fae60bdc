package pubsub

import (
	"container/list"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/filters"
	"github.com/millrace/millrace/internal/rate"
	"github.com/millrace/millrace/server"
)

// Hub has the topics of a server. New makes one.
type Hub struct {
	srv    *server.Server
	limits Limits
	rules  []Rule
	broker Broker
	seed   maphash.Seed

	nodes     *nodes        // nil: this one only
	historian HistoryBroker // the broker; nil: it keeps nothing
	fetchesMu sync.Mutex    // guards fetches; the innermost
	fetches   map[fetchKey]*fetching
	readings  *readings
	prompt    PromptBroker // the broker; nil: any topic may have to wait
	waits     *waits

	topics  [shards]topicShard
	clients [shards]clientShard
	known   *server.Group // the clients, for their end
	lines   lines

	filtersMu  sync.RWMutex         // guards filters; taken inside topic.mu
	filters    filters.Tree[*topic] // those that have subscribers
	generation atomic.Uint64        // of filters

	publishes rate.Limit // of one connection
	presences rate.Limit // of topics with presence that one connection leaves
	began     time.Time  // what its buckets count from

	counts  hubCounts
	closing sync.Once
	closed  atomic.Bool
	ending  chan struct{}
	ended   sync.WaitGroup

	gaps    gaps
	onGapMu sync.Mutex // guards onGap, which is not changed in place
	onGap   []func(topic string)

	departedMu sync.Mutex // guards departed; the innermost
	departed   []departure
	wake       chan struct{}
}

// departure is the end of a connection that was subscribed to a topic.
type departure struct {
	topic *topic
	conn  *server.Conn
}

// shards is how many parts topics and clients have, with a lock each.
const shards = 64

// topicShard is some of the topics.
type topicShard struct {
	mu     sync.RWMutex // who has it only tries topic.mu
	topics map[string]*topic
	missed atomic.Bool // something of one of them may have been missed, if that was there or not
}

// Errors of Subscribe and Publish.
var (
	// ErrTooMany: the connection has as many topics, or filters, as it may.
	ErrTooMany = errors.New("pubsub: too many topics or filters")
	// ErrFull: there are as many topics, or filters, as there may be in all. That may pass.
	ErrFull = errors.New("pubsub: too many topics or filters in all")
	// ErrTooBig: the message is larger than Limits.Payload.
	ErrTooBig = errors.New("pubsub: the message is too large")
	// ErrKey: the message's key is too long.
	ErrKey = errors.New("pubsub: the key is too long")
	// ErrTooFast: the connection has published too many messages, see Limits.PublishRate; or it comes and goes too
	// often, see Limits.PresenceRate.
	ErrTooFast = errors.New("pubsub: the connection is too fast")
	// ErrNoPresence: nobody is told who is at a topic, or at those that a filter meets, since no rule for that has Presence.
	ErrNoPresence = errors.New("pubsub: nobody is told who is there, since the topic's rule has no presence")
	// ErrClosed: the hub is closed.
	ErrClosed = errors.New("pubsub: the hub is closed")
	// ErrUnknown: a broker does not know whether the message was published. Publishing
	// it again may have it there twice.
	ErrUnknown = errors.New("pubsub: the broker does not know whether the message was published")
	// ErrUnavailable: a broker can not use the topic yet, since what keeps its messages is not there.
	ErrUnavailable = errors.New("pubsub: the topic can not be used yet")
)

// New makes a hub for the connections of srv, and starts the broker.
func New(srv *server.Server, o Options) (*Hub, error) {
	if srv == nil {
		return nil, errors.New("pubsub: New: the server is nil")
	}
	h := &Hub{srv: srv, limits: o.Limits.filled(), rules: o.Rules, broker: o.Broker, seed: maphash.MakeSeed(), ending: make(chan struct{}), wake: make(chan struct{}, 1)}
	if err := o.check(&h.limits); err != nil {
		return nil, err
	}
	h.publishes, h.began = rate.New(int64(h.limits.PublishRate), int64(h.limits.PublishBurst)), time.Now()
	h.presences = rate.New(int64(h.limits.PresenceRate), int64(h.limits.PresenceBurst))
	if o.OnMissed != nil {
		h.OnMissed(o.OnMissed)
	}
	h.known = srv.NewGroup(server.GroupOptions{Gone: h.forget})
	if h.broker == nil {
		h.broker = InProcess()
	}
	h.historian, _ = h.broker.(HistoryBroker)
	if bus, ok := h.broker.(NodeBroker); ok {
		h.nodes = newNodes(h, bus, o.Heartbeat)
	}
	h.fetches = map[fetchKey]*fetching{}
	h.readings = newReadings(h.limits.Reading)
	h.prompt, _ = h.broker.(PromptBroker)
	h.waits = newWaits(func() int { return srv.Stats().Workers.Max })
	for i := range h.topics {
		h.topics[i].topics = map[string]*topic{}
		h.clients[i].clients = map[*server.Conn]*client{}
	}
	h.lines.rules, h.lines.most = make([]list.List, len(h.rules)), h.limits.History
	if err := h.broker.Start((*receiver)(h)); err != nil {
		return nil, fmt.Errorf("pubsub: %w", err)
	}
	h.ended.Go(h.run)
	if h.nodes != nil {
		h.ended.Go(h.nodes.run)
	}
	return h, nil
}

// Server is the server whose connections these are.
func (h *Hub) Server() *server.Server { return h.srv }

// Limits are those that hold, with their defaults.
func (h *Hub) Limits() Limits { return h.limits }

// Close ends the broker, and what the hub does by itself. The server's connections stay.
func (h *Hub) Close() error {
	var err error
	h.closing.Do(func() {
		h.closed.Store(true)
		close(h.ending)
		h.ended.Wait()
		err = h.broker.Close()
	})
	return err
}

// keeps says whether a topic has a history.
func (h *Hub) keeps(name string) bool {
	rule := h.ruleOf(name)
	return rule >= 0 && h.rules[rule].Messages > 0
}

// HasPresence says whether a topic's rule has presence: without it nobody is told who is there. Of a filter it says whether it may meet
// a topic of which that is so.
func (h *Hub) HasPresence(name string) bool {
	if !IsFilter(name) {
		rule := h.ruleOf(name)
		return rule >= 0 && h.rules[rule].Presence
	}
	for i := range h.rules {
		if r := &h.rules[i]; r.Presence && filters.Overlap(r.Filter, name) || Covers(r.Filter, name) {
			return r.Presence && name[0] != '$' // of what it covers no later rule is
		}
	}
	return false
}

// ruleOf is the rule of a topic, -1 for none.
func (h *Hub) ruleOf(name string) int {
	if strings.HasPrefix(name, "$") {
		return -1
	}
	for i := range h.rules {
		if Matches(h.rules[i].Filter, name) {
			return i
		}
	}
	return -1
}

// left notes that a connection has ended. A loop calls it, so it takes no topic's lock.
func (h *Hub) left(t *topic, c *server.Conn) {
	if h.closed.Load() {
		return
	}
	h.departedMu.Lock()
	h.departed = append(h.departed, departure{t, c})
	h.departedMu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default: // run looks anyway
	}
}

// run does what has to be done beside the calls of others, until the hub ends.
func (h *Hub) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-h.ending:
			return
		case <-h.wake:
			h.depart()
		case now := <-tick.C:
			h.expire(now)
		}
	}
}

// depart does what left has noted.
func (h *Hub) depart() {
	h.departedMu.Lock()
	departed := h.departed
	h.departed = nil
	h.departedMu.Unlock()
	for _, d := range departed {
		d.topic.mu.Lock()
		d.topic.leave(d.conn)
		h.unlock(d.topic)
	}
}
