package nats

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
	if from := b.interests.recheck(); from > 0 { // before: the answer reaches as far as these wants' bases
		b.stream.doubtful(from)
	}
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
	moved, from := st.leader != "" && st.leader != leader, st.marks[0]+1
	if moved {
		st.doubt = max(st.doubt, doubted)
	}
	st.leader = leader
	st.mu.Unlock()
	if moved {
		st.doubtful(from)
	}
	if anew, err := b.renewed(s, info); anew || err != nil {
		return
	}
	from, through, again, skipped := st.due(info)
	if skipped {
		b.missedStream()
	}
	if from <= through {
		b.goThrough(s, from, through, again)
	}
	b.forget()
}

// doubtful has the looks that follow go through the stream from a number, where messages perhaps did not come: in a cluster, servers that pass
// messages on learn of a subscription a moment after ours, and a leader may end before it has sent what it has stored.
func (st *stream) doubtful(from uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.recheck == 0 || from < st.recheck {
		st.recheck = from
	}
	st.recheckTo = 0
}

// due is what a look is to go through now, if anything. again: perhaps nothing is missing there. Then it is done in parts, so that other messages
// do not wait for long. skipped: so much came that some is left out.
func (st *stream) due(info *status) (from, through uint64, again, skipped bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	last := info.State.LastSeq
	st.marks = [2]uint64{st.marks[1], st.seen.Load()}
	if info.Cluster == nil || info.Cluster.Name == "" {
		st.recheck = 0
	}
	if from = st.behind; from > 0 {
		if st.recheck > 0 {
			from = min(from, st.recheck)
		}
		st.behind, st.recheck = 0, 0
		return from, last, false, false
	}
	if st.recheck == 0 {
		return 1, 0, false, false
	}
	if st.recheckTo == 0 {
		st.recheckTo = last
	}
	end := st.recheckTo
	from = min(st.recheck, end+1)
	if skipped = end-from+1 > catchUpMost; skipped {
		from = end - catchUpMost + 1
	}
	switch through = min(end, from+recheckMost-1); {
	case from > end: // nothing has come from there on yet
		st.recheck, st.recheckTo = from, 0
	case through < end:
		st.recheck = through + 1
	default:
		st.recheck = 0
	}
	return from, through, true, skipped
}

// renewed says whether the stream's numbers have begun anew, and goes through what it has then. With an error that is not certain.
func (b *Broker) renewed(s *session, info *status) (bool, error) {
	anew, err := b.stream.anew(s, info)
	if anew && err == nil {
		b.goThrough(s, b.stream.seen.Load()+1, info.State.LastSeq, false)
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
		b.goThrough(s, from, info.State.LastSeq, false)
	}
}

// later notes that catching up did not work: look does it again. What comes meanwhile of a topic has
// fill fetch what is missing of that.
func (st *stream) later(b *Broker, from uint64, err error) {
	st.silent(b, err)
	st.resume(from)
}

func (st *stream) silent(b *Broker, err error) {
	b.log.Warn("the stream does not answer: catching up later", "stream", st.Name, "err", err)
}

// resume has the next look go through the stream from a number.
func (st *stream) resume(from uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.behind == 0 || from < st.behind {
		st.behind = from
	}
}

// passage is a way through the stream.
type passage struct {
	broker        *Broker
	session       *session
	next, through uint64
	again         bool // perhaps nothing is missing
	late          bool // something was found that had not come
	hole          bool // something is missing, and that was not told yet
	gone          int  // holes of what the stream has not got any more
	told          int
}

// goThrough delivers what the stream has between two numbers that is wanted and was not received.
// A number that the stream has not got any more, or whose message is torn, may have been anybody's: this is told. again: perhaps nothing is missing.
func (b *Broker) goThrough(s *session, from, through uint64, again bool) {
	if from > through {
		return
	}
	st, attempt, p := b.stream, 0, passage{broker: b, session: s, next: from, through: through, again: again}
	complete := again || through-from < catchUpMost
	for complete && p.next <= through && attempt < attempts {
		time.Sleep(time.Duration(attempt) * 50 * time.Millisecond) // a replica catches up
		page, err := st.fetch(context.Background(), s, get{Seq: p.next, NextFor: ">", Batch: pageSize})
		if err != nil {
			p.stop(err)
			return
		}
		if len(page.messages) > 0 {
			attempt = 0
		}
		if !p.take(page.messages) {
			attempt = attempts // what is not there up to through has gone
		}
		if complete = p.goesOn(); page.pending == 0 || len(page.messages) == 0 {
			attempt++ // the replica has no more: is it behind?
		}
	}
	floor := through
	if complete { // the end may be missing in the stream, and still be waiting here
		floor = min(through, p.next-1)
	}
	st.mu.Lock()
	st.caught = max(st.caught, through)
	st.floor = max(st.floor, floor)
	rest := again && st.recheck > 0 && st.recheckTo > 0
	st.mu.Unlock()
	st.seen.Store(max(st.seen.Load(), floor))
	p.hole = p.hole || !complete || p.next <= through
	p.tell()
	if rest {
		s.lookAgain()
	}
}

// take takes messages that the stream has. false: they reach beyond the end.
func (p *passage) take(messages []*nats.Msg) bool {
	b := p.broker
	for _, msg := range messages {
		number := numberOf(msg)
		if number > p.through {
			return false
		}
		if number > p.next && !isTorn(msg) {
			p.gone++
		}
		p.hole = p.hole || number > p.next || isTorn(msg)
		p.next = number + 1
		topic, ok := b.names.topic(serverHeader(msg, jetstream.SubjectHeader))
		if !ok || !b.stream.has(topic) {
			continue
		}
		b.place(p.session, topic)
		if last, wanted := b.stream.expected(b, topic); wanted && number > last {
			p.late = true
			p.tell() // before it comes
			b.deliver(topic, msg)
		}
	}
	return true
}

// Bounds of what is told on the way: of all topics, each time. Beyond them it ends, and what is behind counts as missing too.
const (
	goneMost = 1
	toldMost = 16
)

func (p *passage) goesOn() bool { return (p.again || p.gone <= goneMost) && p.told < toldMost }

// tell tells that something is missing, if it is. Where all came that is there, so did what the stream has dropped since for newer messages: each
// of those tells the topic's one before.
func (p *passage) tell() {
	if p.hole && (p.late || !p.again) {
		p.hole = false
		p.told++
		p.broker.missedStream()
	}
}

// stop notes that the stream did not answer: a look does the rest.
func (p *passage) stop(err error) {
	st := p.broker.stream
	p.tell()
	if !p.again {
		st.later(p.broker, p.next, err)
		return
	}
	st.silent(p.broker, err)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.recheck == 0 {
		st.recheckTo = p.through
	}
	st.recheck = p.next
}

// forget forgets the numbers of topics that nobody wants, if there are many. What was not gone through yet is expected to come.
func (b *Broker) forget() {
	st, i := b.stream, &b.interests
	i.mu.Lock()
	fresh, wants := i.fresh, len(i.wants)
	i.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	seen := st.seen.Load()
	for _, from := range []uint64{st.behind, st.recheck, fresh} {
		if from > 0 && from <= seen {
			return
		}
	}
	if len(st.topics) < 10_000+2*wants {
		return
	}
	st.topics, st.floor = map[string]uint64{}, max(st.floor, seen)
}
