package nats

import (
	"time"

	"github.com/nats-io/nats.go"
)

// serve passes messages on until the connection ends.
func (b *Broker) serve(s *session) {
	if b.stream != nil && !b.serveEarly(s) {
		return
	}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	looks := looking{broker: b, session: s, answer: make(chan looked, 1)}
	for {
		select {
		case msg := <-s.in:
			s.now = time.Now()
			b.next(s, msg)
			b.some(s)
		case <-s.elected:
			for len(s.elected) > 0 {
				<-s.elected
			}
			looks.ask(true)
		case <-tick.C:
			if b.stream != nil {
				looks.ask(false)
			}
		case info := <-looks.answer:
			b.there(s) // before what the answer is about counts as gone through
			looks.answered(info)
		case <-s.closed:
			b.rest(s)
			return
		}
	}
}

// serveEarly passes on what no stream has until the server knows all that was wanted at the beginning, which may be very much, and catches up then.
// false: the connection has ended.
func (b *Broker) serveEarly(s *session) bool {
	for s.early = true; s.early; {
		select {
		case msg := <-s.in:
			s.now = time.Now()
			b.next(s, msg)
			b.some(s)
		case <-s.first:
			s.early = false
		case <-s.closed:
			b.rest(s)
			return false
		}
	}
	if s.again || s.left {
		b.catchUp(s)
	}
	return true
}

// there takes the messages that are there by now.
func (b *Broker) there(s *session) {
	s.now = time.Now()
	for n := len(s.in); n > 0; n-- {
		select {
		case msg := <-s.in:
			b.next(s, msg)
		default:
			return
		}
	}
}

// rest takes what has come when the connection has ended.
func (b *Broker) rest(s *session) {
	for len(s.in) > 0 {
		s.now = time.Now()
		b.next(s, <-s.in)
	}
}

// some takes messages that are there, which is cheaper than to select each, and to ask for the time.
func (b *Broker) some(s *session) {
	for range 256 {
		select {
		case msg := <-s.in:
			b.next(s, msg)
		default:
			return
		}
	}
}

// next takes a message out of the queue, unless that was full: then some may have been dropped behind
// those that are in it. These go too, so that one gap is told instead of one after each message.
func (b *Broker) next(s *session, msg *nats.Msg) {
	full := func() bool { return len(s.in) >= cap(s.in)-1 } // now that one was taken out
	if !full() {
		b.take(s, msg)
		return
	}
	shed := uint64(1)
	for left := len(s.in); left > 0; left-- {
		<-s.in
		if shed++; full() { // again, meanwhile
			left = len(s.in) + 1
		}
	}
	s.mu.Lock()
	s.shed += shed
	s.mu.Unlock()
	b.log.Warn("messages from NATS come too fast: some were dropped", "dropped", shed)
	b.missedCore()
	if s.left = true; b.stream != nil && !s.early {
		b.catchUp(s)
	}
}
