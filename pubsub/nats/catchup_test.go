package nats

import (
	"log/slog"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func newStreamed() *Broker {
	return New(Options{URLs: []string{"nats://a:1"}, Prefix: "p", Logger: slog.New(slog.DiscardHandler), Stream: &Stream{Name: "S", Topics: []string{"#"}}})
}

// TestForgets: the numbers of topics are forgotten when there are many, but not before all that is behind them has been gone through.
func TestForgets(t *testing.T) {
	b := newStreamed()
	st := b.stream
	for i := range 10_000 {
		st.topics[strconv.Itoa(i)] = uint64(i)
	}
	st.seen.Store(10_000)
	for name, from := range map[string]*uint64{"behind": &st.behind, "again": &st.recheck, "new": &b.interests.fresh} {
		*from = 5000
		if b.forget(); len(st.topics) == 0 || st.floor != 0 {
			t.Errorf("%s: forgotten", name)
		}
		*from = 0
	}
	st.recheck = 10_001 // nothing has come from there on
	if b.forget(); len(st.topics) != 0 || st.floor != 10_000 {
		t.Errorf("%d are known, and nothing is expected up to %d", len(st.topics), st.floor)
	}
}

// TestDue: what is to be gone through is kept until it is, whatever comes between.
func TestDue(t *testing.T) {
	st := newStreamed().stream
	info := func(last uint64) *status {
		return &status{StreamInfo: &jetstream.StreamInfo{Cluster: &jetstream.ClusterInfo{Name: "c", Leader: "a"}, State: jetstream.StreamState{LastSeq: last}}}
	}
	expect := func(last, wantFrom, wantThrough uint64, wantAgain, wantSkipped bool) {
		t.Helper()
		from, through, again, skipped := st.due(info(last))
		if from > through {
			from, through = 0, 0
		}
		if from != wantFrom || through != wantThrough || from > 0 && again != wantAgain || skipped != wantSkipped {
			t.Errorf("up to %d: from %d through %d, again: %v, skipped: %v", last, from, through, again, skipped)
		}
	}
	expect(100, 0, 0, false, false)
	st.doubtful(101) // nothing has come behind it
	expect(100, 0, 0, false, false)
	expect(100, 0, 0, false, false)
	expect(103, 101, 103, true, false)
	expect(104, 0, 0, false, false)
	st.doubtful(200)
	st.doubtful(150) // the leader has moved
	st.resume(180)   // and then it did not answer
	expect(300, 150, 300, false, false)
	expect(301, 0, 0, false, false)
	st.doubtful(301) // more than is done at once
	expect(30_000, 301, 10_300, true, false)
	expect(31_000, 10_301, 20_300, true, false)
	st.doubtful(30_500)
	expect(32_000, 20_301, 30_300, true, false)
	expect(33_000, 30_301, 32_000, true, false)
	expect(34_000, 0, 0, false, false)
	st.doubtful(1)
	expect(1_000_000, 800_001, 810_000, true, true)
	expect(1_000_001, 810_001, 820_000, true, false)
	st.resume(900_000)
	expect(1_000_002, 820_001, 1_000_002, false, false)
	alone := info(1_000_010)
	alone.Cluster = nil
	st.doubtful(1_000_005)
	if from, through, _, _ := st.due(alone); from <= through {
		t.Errorf("a server alone: from %d through %d", from, through)
	}
}

// TestTornNotSlow: subscriptions that get a torn message, of which there may be ever new ones, are not noted as slow ones.
func TestTornNotSlow(t *testing.T) {
	s := &session{broker: newStreamed(), slow: map[*nats.Subscription]struct{}{}}
	for range 10 {
		s.failed(nil, &nats.Subscription{Subject: "_INBOX.a"}, nats.ErrBadHeaderMsg)
	}
	slow := &nats.Subscription{Subject: "t"}
	s.failed(nil, slow, nats.ErrBadHeaderMsg)
	s.failed(nil, slow, nats.ErrSlowConsumer)
	if _, ok := s.slow[slow]; len(s.slow) != 1 || !ok {
		t.Errorf("%d are slow", len(s.slow))
	}
}
