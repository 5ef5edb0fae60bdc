package nats

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
)

const (
	pingInterval   = 15 * time.Second // a server that does not answer two of them is gone
	connectTimeout = 2 * time.Second
	writeTimeout   = 5 * time.Second  // for bytes that the kernel does not take
	applyTimeout   = 2 * pingInterval // for the server to know some thousand subscriptions: pings find out before if it is gone
	readyTimeout   = 2 * time.Second  // that somebody waits for the server to know a subscription
	firstBackoff   = 50 * time.Millisecond
	lastBackoff    = 2 * time.Second
)

// Broker is a pubsub.Broker on NATS. New makes one.
type Broker struct {
	options  Options
	invalid  error // of the options
	names    naming
	node     string // names this broker; the epoch of what no stream numbers
	log      *slog.Logger
	receiver pubsub.Receiver
	stream   *stream // nil: none

	session   atomic.Pointer[session]  // nil: disconnected
	found     atomic.Pointer[[]string] // servers, besides those of the options
	why       atomic.Pointer[string]   // it is disconnected, as told; nil: not yet
	interests interests
	number    atomic.Uint64 // of the last message that no stream numbers, or larger: see interests.number
	seed      maphash.Seed
	lines     [256]line // of topics, by their hash

	hearing sync.Mutex // held by the session whose nodes are heard

	counts counts
	unsure time.Time // when the last session ended, if it may have lost messages of this node; zero: it has not. Who keeps sessions has it
	closed atomic.Bool
	ending chan struct{}
	ended  sync.WaitGroup
}

// counts are a broker's.
type counts struct {
	connects, lost, gaps, dropped, received, published, refused, foreign atomic.Uint64
}

// Stats are a broker's figures.
type Stats struct {
	Connected     bool
	Server        string // the URL of the one it is connected to
	Error         string // why it is not connected
	Stream        string // the name of the stream of the options; "": none
	StreamFound   bool   // it was found since the broker has started
	StreamError   string // why it can not be used, as of the last look at it, each 3 s while there is a connection; "": it can, or was not looked for yet
	MaxPayload    int    // bytes of a message with its headers that the server takes
	Subscriptions int    // of topics and filters, lingering ones too
	Unready       int    // of these, those that the server does not know yet; of a connection that is lost, as they were
	Connects      uint64 // connections made so far
	Lost          uint64 // those of them that have ended by themselves
	Gaps          uint64 // times that Receiver.Missed was called
	Dropped       uint64 // messages that this node had no room for: it was too slow
	Received      uint64 // messages of topics that came from NATS
	Published     uint64 // messages that NATS took
	Refused       uint64 // messages that the hub had no room for
	Foreign       uint64 // messages whose subject is no topic's, or, of a stream, whose headers can not be read
}

// New makes a broker. It connects when a hub is made with it (Start).
func New(o Options) *Broker {
	b := &Broker{node: rand.Text()[:12], seed: maphash.MakeSeed(), ending: make(chan struct{})}
	b.found.Store(&[]string{})
	b.options, b.invalid = o.filled()
	b.log = b.options.Logger
	b.names = naming{b.options.Prefix, b.options.Interest}
	b.interests = interests{wants: map[string]*want{}, wake: make(chan struct{}, 1), number: &b.number}
	if b.options.Stream != nil {
		b.stream = &stream{Stream: *b.options.Stream, live: livePrefix(b.options.Stream.Name), topics: map[string]uint64{}}
	}
	return b
}

// Start implements pubsub.Broker. It connects, and finds the stream; with Options.Retry it does not wait for either.
func (b *Broker) Start(r pubsub.Receiver) error {
	if b.invalid != nil {
		return b.invalid
	}
	b.receiver = r
	s, err := b.connect()
	if err != nil && (!b.options.Retry || stays(err)) {
		return err
	}
	if err != nil {
		b.disconnected(err)
	}
	b.ended.Go(func() { b.run(s) })
	return nil
}

// Close implements pubsub.Broker.
func (b *Broker) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	close(b.ending)
	if s := b.session.Load(); s != nil {
		s.conn.Close()
	}
	b.ended.Wait()
	for i := range b.lines { // those who publish now come to their end
		b.lines[i].Lock()
		defer b.lines[i].Unlock()
	}
	return nil
}

// Stats are the figures as they stand.
func (b *Broker) Stats() Stats {
	stats := Stats{
		Subscriptions: b.interests.count(), Unready: int(b.interests.unready.Load()),
		Connects: b.counts.connects.Load(), Lost: b.counts.lost.Load(), Gaps: b.counts.gaps.Load(), Dropped: b.counts.dropped.Load(),
		Received: b.counts.received.Load(), Published: b.counts.published.Load(), Refused: b.counts.refused.Load(), Foreign: b.counts.foreign.Load(),
	}
	if st := b.stream; st != nil {
		stats.Stream, stats.StreamFound = st.Name, st.current() != ""
		if why := st.why.Load(); why != nil {
			stats.StreamError = *why
		}
	}
	if s := b.session.Load(); s != nil {
		stats.Connected, stats.Server, stats.MaxPayload = true, s.conn.ConnectedUrlRedacted(), s.maxPayload
		stats.Dropped += s.dropped()
	} else if why := b.why.Load(); why != nil {
		stats.Error = *why
	}
	return stats
}

// Publish implements pubsub.Broker. ErrDisconnected and ErrNoStream: nobody gets the message. While the stream was not found, ErrNoStream comes
// at once, together with pubsub.ErrUnavailable.
//
// Without a stream it does not wait for the server, but while that does not know yet that somebody here wants the topic, and then for
// 2 s at most: what is lost with the connection is lost. With a
// stream it waits for the stream's answer, and asks again, until ctx ends or 10 s are over.
func (b *Broker) Publish(ctx context.Context, m pubsub.Message, o pubsub.PublishOptions) (pubsub.Published, error) {
	s := b.session.Load()
	header := header(&m, &o)
	switch {
	case s == nil:
		return pubsub.Published{}, ErrDisconnected
	case s.tooBig(header, m.Payload):
		return pubsub.Published{}, s.errTooBig()
	case b.stream.has(m.Topic) && b.stream.current() == "":
		return pubsub.Published{}, b.stream.errNotFound()
	case b.stream.has(m.Topic):
		if b.interests.unready.Load() > 0 {
			b.await(m.Topic) // or this node may not get it
		}
		return b.store(ctx, s, &nats.Msg{Subject: b.names.subject(m.Topic), Header: header, Data: m.Payload})
	}
	if b.interests.unready.Load() > 0 {
		b.awaitKnown(s, m.Topic)
	}
	p, err := b.send(s, header, &m, &o)
	if b.interests.unready.Load() > 0 {
		b.awaitKnown(s, m.Topic) // the first message made it: from here on others' are to come too
	}
	return p, err
}

// Prompt implements pubsub.PromptBroker.
func (b *Broker) Prompt(topic string) bool {
	return !b.stream.has(topic) && (b.interests.unready.Load() == 0 || b.interests.ready(topic))
}

// tooBig says that the server does not take a message: headers and payload count.
func (s *session) tooBig(header nats.Header, payload []byte) bool {
	return len(payload) > s.maxPayload || header != nil && (&nats.Msg{Header: header, Data: payload}).Size() > s.maxPayload
}

func (s *session) errTooBig() error {
	return fmt.Errorf("%w: NATS takes %d bytes", pubsub.ErrTooBig, s.maxPayload)
}

// send has who is here receive a message, and gives it to NATS.
func (b *Broker) send(s *session, header nats.Header, m *pubsub.Message, o *pubsub.PublishOptions) (pubsub.Published, error) {
	line, hash := b.line(m.Topic)
	line.Lock()
	defer line.Unlock()
	if b.interests.unready.Load() > 0 && !b.interests.rely(m.Topic, false) { // somebody else's message has just made it
		line.Unlock()
		b.awaitKnown(s, m.Topic)
		line.Lock()
		b.interests.rely(m.Topic, true)
	}
	if b.closed.Load() || s.ended() {
		return pubsub.Published{}, ErrDisconnected
	}
	if !s.sent.Load() {
		s.sent.Store(true)
	}
	p, err := b.receive(m, o, time.Now())
	if err != nil {
		return pubsub.Published{}, err
	}
	subject := line.subjectOf(b.names, m.Topic, hash)
	if header == nil {
		err = s.conn.Publish(subject, m.Payload)
	} else {
		err = s.conn.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: m.Payload})
	}
	if err != nil {
		return pubsub.Published{}, fmt.Errorf("%w: %w", pubsub.ErrUnknown, err) // who is here has it
	}
	if o.NotKept && !b.interests.meets(m.Topic) {
		b.number.Add(1) // as in Position
	}
	b.counts.published.Add(1)
	return p, nil
}

// receive has the hub receive a message that no stream numbers. The caller holds its line.
func (b *Broker) receive(m *pubsub.Message, o *pubsub.PublishOptions, at time.Time) (p pubsub.Published, err error) {
	m.Position, m.Time = b.at(b.number.Add(1)), at
	members, err := b.receiver.Receive(*m, *o)
	return pubsub.Published{Position: m.Position, Members: members}, err
}

// at is a position that this node counts.
func (b *Broker) at(number uint64) pubsub.Position {
	return pubsub.Position{Epoch: b.node, Number: number}
}

// Position implements pubsub.Broker. It waits for the server to know the subscription, for at most
// 2 s: if it does not know it then, something may be missed, and this will be told.
func (b *Broker) Position(topic string) pubsub.Position {
	base := b.await(topic)
	line, _ := b.line(topic)
	line.Lock()
	defer line.Unlock()
	if b.stream.has(topic) {
		return b.stream.position(base)
	}
	wanted := b.interests.meets(topic)
	p := b.at(b.number.Load())
	if !wanted {
		b.number.Add(1) // others' messages may be missed from here on: the next one that comes does not follow on this
	}
	return p
}

// take takes a message that came from NATS. The broker's own goroutine calls it.
func (b *Broker) take(s *session, msg *nats.Msg) {
	if msg.Sub != nil && msg.Sub == s.notes {
		b.heardLost(s, msg.Data)
		return
	}
	subject, live := msg.Subject, false
	if b.stream != nil {
		subject, live = strings.CutPrefix(subject, b.stream.live)
	}
	topic, line := s.topicOf(subject)
	switch {
	case line == nil:
		b.counts.foreign.Add(1)
	case b.stream.has(topic) && live:
		b.takeStored(s, topic, msg)
	case live || b.stream.has(topic): // on its way to the stream
	case b.options.Interest == ByTopic || b.interests.meets(topic):
		b.counts.received.Add(1)
		m := pubsub.Message{Topic: topic, Payload: msg.Data, Opcode: opcode(msg)}
		var o pubsub.PublishOptions
		if len(msg.Header) > 0 {
			o = options(msg.Header)
		}
		if err := b.takeCore(line, &m, &o, s.now); err != nil {
			b.noRoom(topic, err)
		}
	}
}

// takeCore has the hub receive a message that no stream has, and tells what is missing, before it or in its place, as long as
// nothing else of the topic may be received.
func (b *Broker) takeCore(line *line, m *pubsub.Message, o *pubsub.PublishOptions, at time.Time) error {
	line.Lock()
	defer line.Unlock()
	if b.interests.unready.Load() > 0 {
		for _, name := range b.interests.owed(m.Topic) {
			b.missed(name)
		}
	}
	_, err := b.receive(m, o, at)
	if err != nil {
		b.missed(m.Topic)
	}
	return err
}

// refused tells that the hub had no room for a message.
func (b *Broker) refused(topic string, err error) {
	b.noRoom(topic, err)
	b.missed(topic)
}

func (b *Broker) noRoom(topic string, err error) {
	b.counts.refused.Add(1)
	b.log.Warn("no room for a message from NATS", "topic", topic, "err", err)
}

// missed tells the hub that something of a topic, or a filter, may be missing.
func (b *Broker) missed(name string) {
	b.number.Add(1)
	b.counts.gaps.Add(1)
	b.receiver.Missed(name)
}

// missedCore tells that something may be missing of all that no stream has.
func (b *Broker) missedCore() {
	if b.stream == nil {
		b.missed("")
		return
	}
	for _, name := range b.interests.names() {
		if !b.stream.hasAll(name) {
			b.missed(name)
		}
	}
}

// run keeps a session, one after the other.
func (b *Broker) run(s *session) {
	pause := firstBackoff
	for {
		if s != nil {
			pause = firstBackoff
			b.serve(s)
			b.session.Store(nil)
			b.lost(s)
		}
		select {
		case <-b.ending:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastBackoff)
		var err error
		if s, err = b.connect(); err != nil {
			b.disconnected(err)
		}
	}
}

// disconnected notes why there is no connection, and logs it if it is something else than before.
func (b *Broker) disconnected(err error) {
	why := err.Error()
	if before := b.why.Swap(&why); before == nil || *before != why {
		b.log.Warn("no connection to NATS", "err", err)
	}
}
