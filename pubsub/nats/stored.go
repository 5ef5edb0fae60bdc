package nats

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
)

// # What a stream has stored
//
// The stream sends each message that it has stored to all nodes that want it (RePublish), with its number
// and that of the topic's one before. So a node sees what it has not got, and fetches it before it
// goes on. Behind a lost connection, or when the stream has another leader, which may have stored what
// nobody sent, it goes through the stream from where it was. Messages that come meanwhile wait; where perhaps nothing is missing, not for long.

const (
	catchUpMost = 200_000 // messages that a node goes through; of more it says that they may be missing
	recheckMost = 10_000  // likewise, at once, when perhaps nothing is missing
	fillBytes   = 64 << 20
)

// serverHeader is a header that the server has put behind those of the publisher, which may have the same name.
func serverHeader(msg *nats.Msg, name string) string {
	all := msg.Header.Values(name)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// storedAt reads where a stored message stands, and, of one that was republished, the topic's one before.
func storedAt(msg *nats.Msg) (number, before uint64, at time.Time, ok bool) {
	number, err := strconv.ParseUint(serverHeader(msg, jetstream.SequenceHeader), 10, 64)
	if err != nil || number == 0 {
		return 0, 0, at, false
	}
	before, _ = strconv.ParseUint(serverHeader(msg, jetstream.LastSequenceHeader), 10, 64) // 0: none
	at, err = time.Parse(time.RFC3339Nano, serverHeader(msg, jetstream.TimeStampHeaer))
	if err != nil {
		at = time.Now()
	}
	return number, before, at, true
}

// takeStored takes a message that the stream sends.
func (b *Broker) takeStored(s *session, topic string, msg *nats.Msg) {
	st := b.stream
	number, before, at, ok := storedAt(msg)
	if !ok || hides(msg) {
		b.takeTorn(s, topic)
		return
	}
	if st.current() == "" {
		s.lookAgain() // it is there
		return
	}
	if s.early {
		_, s.left = st.hear(number, at), true
		return
	}
	b.place(s, topic)
	if st.hear(number, at) {
		st.resume(number) // the next look settles it, and goes through what has come
		s.lookAgain()
		return
	}
	last, wanted := st.expected(b, topic)
	if wanted && number <= last && number > st.caughtUp() { // it came before, or the stream is a new one
		if info, err := st.info(s); err == nil {
			_, _ = b.renewed(s, info) // or the next look tells
		}
		last, wanted = st.expected(b, topic)
	}
	if !wanted || number <= last {
		return
	}
	if before > last {
		b.fill(s, topic, last, before)
	}
	b.deliver(topic, msg)
}

// takeTorn takes a message of a topic whose number nobody can read: it has the topic be read up to its end, where it is.
func (b *Broker) takeTorn(s *session, topic string) {
	b.counts.foreign.Add(1)
	st := b.stream
	switch {
	case st.current() == "":
		s.lookAgain() // it is there
		return
	case s.early:
		s.left = true
		return
	}
	b.place(s, topic)
	if last, wanted := st.expected(b, topic); wanted && !b.fill(s, topic, last, 0) {
		st.resume(st.seen.Load() + 1)
	}
}

// expected is the number of the last message of a topic that was received, or behind which
// messages are expected. As long as it is not known from where a topic is wanted, it is not.
func (st *stream) expected(b *Broker, topic string) (last uint64, wanted bool) {
	base, unready, wanted := b.interests.base(topic)
	st.mu.Lock()
	defer st.mu.Unlock()
	return max(base, st.topics[topic], st.floor), wanted && unready == nil
}

func (st *stream) caughtUp() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.caught
}

// received is the number of a topic's last message that was received, or one behind which none of the topic's was.
func (st *stream) received(topic string) uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return max(st.topics[topic], st.floor)
}

// deliver has the hub receive a stored message, if it is wanted and was not received. What was purged, or is torn, is told to be missing.
func (b *Broker) deliver(topic string, msg *nats.Msg) {
	number, _, at, _ := storedAt(msg)
	m, o := decode(msg)
	m.Topic, m.Time, m.Position = topic, at, pubsub.Position{Epoch: b.stream.current(), Number: number}
	st, lost := b.stream, isTorn(msg) || msg.Header.Get(headerPurged) != ""
	line, _ := b.line(topic)
	line.Lock() // when Position has told a number, nothing up to it is delivered any more
	if last, wanted := st.expected(b, topic); !wanted || number <= last {
		line.Unlock()
		return
	}
	var err error
	if !lost {
		_, err = b.receiver.Receive(m, o)
	}
	st.mu.Lock()
	st.topics[topic] = number
	st.mu.Unlock()
	st.seen.Store(max(st.seen.Load(), number)) // nobody else writes it
	line.Unlock()
	b.counts.received.Add(1)
	switch {
	case err != nil:
		b.refused(topic, err)
	case lost:
		b.missed(topic)
	}
}

// fill fetches what is missing of a topic between two numbers, the second of which is there; of 0 up to the topic's end. It says whether the
// stream has answered.
func (b *Broker) fill(s *session, topic string, after, through uint64) bool {
	p, err := b.stream.pastOf(context.Background(), s, topic, after, through, pubsub.HistoryBound{Messages: catchUpMost, Bytes: fillBytes})
	if err != nil || !p.complete || !p.whole || p.more {
		b.log.Warn("messages of a topic are missing", "topic", topic, "err", err)
		b.missed(topic)
	}
	for _, msg := range p.messages {
		if number := numberOf(msg); number <= through || through == 0 {
			b.deliver(topic, msg)
		}
	}
	return err == nil
}
