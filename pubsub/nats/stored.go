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
// nobody sent, it goes through the stream from where it was.

const (
	catchUpMost = 200_000 // messages that a node goes through; of more it says that they may be missing
	recheckMost = 10_000  // likewise, when perhaps nothing is missing
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
	if !ok {
		b.counts.foreign.Add(1)
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

// deliver has the hub receive a stored message, if it is wanted and was not received.
func (b *Broker) deliver(topic string, msg *nats.Msg) {
	number, _, at, _ := storedAt(msg)
	m, o := decode(msg)
	m.Topic, m.Time, m.Position = topic, at, pubsub.Position{Epoch: b.stream.current(), Number: number}
	st, purged := b.stream, msg.Header.Get(headerPurged) != ""
	line, _ := b.line(topic)
	line.Lock() // when Position has told a number, nothing up to it is delivered any more
	if last, wanted := st.expected(b, topic); !wanted || number <= last {
		line.Unlock()
		return
	}
	var err error
	if !purged {
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
	case purged:
		b.missed(topic)
	}
}

// fill fetches what is missing of a topic between two numbers, the second of which is there.
func (b *Broker) fill(s *session, topic string, after, through uint64) {
	p, err := b.stream.pastOf(context.Background(), s, topic, after, through, pubsub.HistoryBound{Messages: catchUpMost, Bytes: fillBytes})
	if err != nil || !p.complete || !p.whole || p.more {
		b.log.Warn("messages of a topic are missing", "topic", topic, "err", err)
		b.missed(topic)
	}
	for _, msg := range p.messages {
		if number, _, _, _ := storedAt(msg); number <= through {
			b.deliver(topic, msg)
		}
	}
}

// looking asks now and then how the stream is. It waits for the answer aside: a stream without a leader holds up
// no messages. The session's receiving goroutine has it.
type looking struct {
	broker  *Broker
	session *session
	answer  chan looked
	asked   bool // and there is no answer yet
	again   bool // to be asked once more
}

// looked is an answer.
type looked struct {
	info *status
	err  error
}

// lookAgain has the stream be looked at soon.
func (s *session) lookAgain() {
	select {
	case s.elected <- nil:
	default: // it will be
	}
}

// ask asks, unless it waits for an answer; anew: behind this one once more.
func (k *looking) ask(anew bool) {
	if k.asked {
		k.again = k.again || anew
		return
	}
	b, s := k.broker, k.session
	k.asked, k.again = true, false
	state := b.stream.info
	if !s.found {
		state = b.stream.find
	}
	b.ended.Go(func() {
		info, err := state(s)
		switch {
		case err == nil:
			if err := b.stream.count(s, info.incarnation()); err != nil {
				b.log.Warn("the stream's metadata does not tell yet that its numbers have begun anew", "stream", b.stream.Name, "err", err)
			}
		case b.stream.lasts(err):
			b.log.Warn("the stream can not be used", "stream", b.stream.Name, "err", err)
			s.conn.Close() // the next session says so
		default:
			b.log.Debug("the stream does not answer: looking again later", "stream", b.stream.Name, "err", err)
		}
		k.answer <- looked{info, err}
	})
}

// answered takes the answer, if it still is about the stream of which it was asked.
func (k *looking) answered(a looked) {
	st, s := k.broker.stream, k.session
	k.asked = false
	switch {
	case a.err != nil:
		st.answers(a.err)
	case a.info.epoch == st.current():
		if !s.found {
			k.broker.log.Info("the stream can be used now", "stream", st.Name)
		}
		s.found = true
		st.answers(nil)
		k.broker.look(s, a.info)
	}
	if k.again {
		k.ask(false)
	}
}

// look looks whether the stream's numbers have begun anew, and whether it has the same leader.
func (b *Broker) look(s *session, info *status) {
	st := b.stream
	leader := ""
	if info.Cluster != nil {
		leader = info.Cluster.Leader
	}
	st.mu.Lock()
	if moved := st.leader != "" && st.leader != leader; moved {
		st.moved, st.doubt = true, max(st.doubt, doubted)
	}
	st.leader = leader
	st.mu.Unlock()
	if anew, err := b.renewed(s, info); anew || err != nil {
		return
	}
	st.mu.Lock()
	from, behind, moved := st.marks[0]+1, st.behind, st.moved
	st.behind, st.moved = 0, false
	st.marks = [2]uint64{st.marks[1], st.seen.Load()}
	st.mu.Unlock()
	switch recheck := b.interests.recheck(); {
	case behind > 0:
		b.goThrough(s, behind, info.State.LastSeq, catchUpMost)
	case moved:
		b.goThrough(s, from, info.State.LastSeq, recheckMost)
	case recheck > 0 && info.Cluster != nil && info.Cluster.Name != "" && info.State.LastSeq-min(recheck, info.State.LastSeq) <= recheckMost:
		b.goThrough(s, recheck, info.State.LastSeq, recheckMost)
	}
	b.forget()
}

// renewed says whether the stream's numbers have begun anew, and goes through what it has then. With an error that is not certain.
func (b *Broker) renewed(s *session, info *status) (bool, error) {
	anew, err := b.stream.anew(s, info)
	if anew && err == nil {
		b.goThrough(s, b.stream.seen.Load()+1, info.State.LastSeq, recheckMost)
	}
	return anew, err
}

// catchUp goes through the stream from the last message that was received.
func (b *Broker) catchUp(s *session) {
	st := b.stream
	from := st.seen.Load() + 1
	if !s.found {
		st.resume(from)
		return
	}
	info, err := st.info(s)
	anew := false
	if err == nil {
		anew, err = b.renewed(s, info)
	}
	switch {
	case err != nil:
		st.later(b, from, err)
	case !anew:
		b.goThrough(s, from, info.State.LastSeq, catchUpMost)
	}
}

// later notes that catching up did not work: look does it again. What comes meanwhile of a topic has
// fill fetch what is missing of that.
func (st *stream) later(b *Broker, from uint64, err error) {
	b.log.Warn("the stream does not answer: catching up later", "stream", st.Name, "err", err)
	st.resume(from)
}

// resume has the next look go through the stream from a number.
func (st *stream) resume(from uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.behind == 0 || from < st.behind {
		st.behind = from
	}
}

// goThrough delivers what the stream has between two numbers that is wanted and was not received.
// A number that the stream has not got any more may have been anybody's: this is told.
func (b *Broker) goThrough(s *session, from, through uint64, most int) {
	st, holes, attempt := b.stream, 0, 0
	if from > through {
		return
	}
	next, complete := from, through-from < uint64(most)
	for complete && next <= through && attempt < attempts {
		time.Sleep(time.Duration(attempt) * 50 * time.Millisecond) // a replica catches up
		page, err := st.fetch(context.Background(), s, get{Seq: next, NextFor: ">", Batch: pageSize})
		if err != nil {
			st.later(b, from, err)
			return
		}
		if len(page.messages) > 0 {
			attempt = 0
		}
		for _, msg := range page.messages {
			number := numberOf(msg)
			if number > through {
				attempt = attempts // what is not there up to through has gone
				break
			}
			if number > next {
				holes++
				b.missedStream()
			}
			next = number + 1
			if topic, ok := b.names.topic(serverHeader(msg, jetstream.SubjectHeader)); ok && st.has(topic) {
				b.place(s, topic)
				b.deliver(topic, msg)
			}
		}
		if complete = holes < 2; page.pending == 0 {
			attempt++ // the replica has no more: is it behind?
		}
	}
	floor := through
	if complete { // the end may be missing in the stream, and still be waiting here
		floor = min(through, next-1)
	}
	st.mu.Lock()
	st.caught = max(st.caught, through)
	st.floor = max(st.floor, floor)
	st.mu.Unlock()
	st.seen.Store(max(st.seen.Load(), floor))
	if !complete || next <= through {
		b.missedStream()
	}
}

// forget forgets the numbers of topics that nobody wants, if there are many.
func (b *Broker) forget() {
	st := b.stream
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.topics) < 10_000+2*b.interests.count() {
		return
	}
	st.topics, st.floor = map[string]uint64{}, max(st.floor, st.seen.Load())
}
