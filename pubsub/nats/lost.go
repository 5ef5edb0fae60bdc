package nats

import (
	"cmp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// # What a lost connection takes with it
//
// It may be what came to this node, which tells its own hub, and what this node has published, which only the others can tell
// theirs. So the first that the next session publishes is a note to all nodes. It comes to each before what the node publishes
// then: they take both from one connection, in one order. Of two servers of a cluster each passes on in order what
// one connection publishes; what the lost one has published may still come behind the note. There is one note for each lost session.

// lost tells of the end of a session.
func (b *Broker) lost(s *session) {
	b.counts.dropped.Add(s.dropped())
	if b.closed.Load() {
		return
	}
	b.counts.lost.Add(1)
	err := cmp.Or(s.conn.LastError(), nats.ErrConnectionClosed)
	why := err.Error()
	b.why.Store(&why)
	b.log.Warn("the connection to NATS has ended: messages may be missing", "err", err)
	if s.sent.Load() {
		b.unsure = time.Now()
	}
	b.missedCore()
}

// lostSubject is that of the notes: no topic's.
func (b *Broker) lostSubject() string { return "_millrace." + b.options.Prefix + "lost" }

// noteLost has the session hear of what others' have lost, and tells them if this node's last one may have lost something. Of when
// that was it tells how long ago: clocks differ.
func (s *session) noteLost() (err error) {
	b := s.broker
	if s.notes, err = s.conn.ChanSubscribe(b.lostSubject(), s.in); err != nil {
		return err
	}
	if !b.unsure.IsZero() {
		if err := s.conn.Publish(b.lostSubject(), []byte(b.node+" "+time.Since(b.unsure).String())); err != nil {
			return err
		}
	}
	if err := s.conn.FlushTimeout(applyTimeout); err != nil {
		return err
	}
	s.sent.Store(!b.unsure.IsZero()) // a note may be lost on its way as well
	b.unsure = time.Time{}
	return nil
}

// heardLost takes a note. What was lost before this session began was told when the one before ended: when a server ends all its
// nodes send notes.
func (b *Broker) heardLost(s *session, note []byte) {
	node, ago, _ := strings.Cut(string(note), " ")
	if node == b.node {
		return
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 && time.Now().Add(-d).Before(s.began) {
		return
	}
	b.log.Warn("another node has lost its connection to NATS: messages may be missing", "node", node)
	s.began = time.Now() // of what was lost before, which others may tell at the same time, this tells too
	b.missedCore()
}
