package nats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestHeardLost: what another node has lost is told, unless it was lost before this node's connection was made. A node's own note says nothing
// to it, and what is no note is told.
func TestHeardLost(t *testing.T) {
	var n noted
	b, s := n.broker(Options{})
	s.notes = new(nats.Subscription)
	for note, want := range map[string][]string{
		"other 59s": {"-"}, "other 0s": {"-"}, "other 61s": nil, "other 1h1m": nil, b.node + " 1s": nil, "other": {"-"}, "": {"-"}, "other -1s": {"-"}, "other x": {"-"},
	} {
		s.began = time.Now().Add(-time.Minute)
		b.take(s, &nats.Msg{Subject: b.lostSubject(), Data: []byte(note), Sub: s.notes})
		n.expect(t, want...)
	}
	s.began = time.Now().Add(-time.Minute)
	for range 5 { // many nodes lose a server at once: it is told once
		b.take(s, &nats.Msg{Subject: b.lostSubject(), Data: []byte("another 10s"), Sub: s.notes})
	}
	n.expect(t, "-")
	b.take(s, &nats.Msg{Subject: b.lostSubject(), Data: []byte("other 0s"), Sub: new(nats.Subscription)}) // it came for ">" too
	n.expect(t)
	if subject := b.names.subject("_millrace.lost"); subject == b.lostSubject() || b.counts.foreign.Load() != 1 {
		t.Errorf("a topic's: %q", subject)
	}
	if subject := b.names.subject("_millrace/lost"); subject == b.lostSubject() {
		t.Errorf("a topic's: %q", subject)
	}
}
