package pubsub_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
)

// large is a payload of which ten are about as much as is read in one part.
var large = strings.Repeat("x", 100<<10)

// fillLarge has so many large messages be kept, of before the hubs that a test looks at.
func (k *keeper) fillLarge(t *testing.T, topic string, n int) (at []pubsub.Position) {
	old := newRig(t, pubsub.Options{Broker: k})
	for i := range n {
		at = append(at, old.publish(topic, large+strconv.Itoa(i)).Position)
	}
	return at
}

// TestLastWithinQueue: of the last messages that the broker keeps no more is read for a subscription than its queue can take, and one that
// goes beyond, however many it asks for: the newest ones.
func TestLastWithinQueue(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	k.fillLarge(t, "kept", 30)
	r := newRigWith(t, pubsub.Options{Broker: &taken{k}}, func(srv *server.Server) { srv.Queue.Max = 1 << 20 })
	client, conn := r.connect()
	s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Last: 1_000_000, Policy: server.DropNewest})
	most := int64(conn.QueueMax())
	if most != 1<<20 || s.Sent != 11 || k.most.Load() > most+int64(len(large))+2 || k.asked.Load() != 1 {
		t.Errorf("%+v of a queue of %d bytes, asked %d times for up to %d bytes", s, most, k.asked.Load(), k.most.Load())
	}
	if got := client.ReceiveText(); !strings.HasSuffix(got, "x19") {
		t.Errorf("the first one is ...%s", got[len(got)-3:])
	}
}

// TestHistoryWithinBytes: no more is read than the bytes that are wanted, and what the bound has left out is no gap.
func TestHistoryWithinBytes(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fillLarge(t, "kept", 30)
	r := newRig(t, pubsub.Options{Broker: &taken{k}})
	for _, last := range []bool{false, true} {
		since, first := at[4], "x5"
		if last {
			since, first = pubsub.Position{}, "x27"
		}
		k.most.Store(0)
		messages, complete, err := r.hub.History("kept", since, pubsub.HistoryBound{Messages: 1000, Bytes: 250 << 10, Last: last})
		if err != nil || complete == last || len(messages) != 3 || !strings.HasSuffix(string(messages[0].Payload), first) || k.most.Load() > 310<<10 {
			t.Errorf("%v: %d messages, %v, %v, read %d bytes", last, len(messages), complete, err, k.most.Load())
		}
	}
}

// TestReadingTogether: who asks for pasts waits while as much is being read as may be, and then gets his.
func TestReadingTogether(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	var at []pubsub.Position
	for i := range 10 {
		at = append(at, k.fillLarge(t, "kept/"+strconv.Itoa(i), 2)[0])
	}
	k.answer = make(chan struct{})
	r := newRig(t, pubsub.Options{Broker: &taken{k}, Limits: pubsub.Limits{Reading: 2 << 20}})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			bound := pubsub.HistoryBound{Messages: 10 * (i % 2)} // alone, or shared
			messages, complete, err := r.hub.History("kept/"+strconv.Itoa(i/2), at[i/2], bound)
			if err != nil || !complete || len(messages) != 1 {
				t.Errorf("%d: %d messages, %v, %v", i, len(messages), complete, err)
			}
		})
	}
	r.eventually("two questions", func() bool { return k.pending.Load() == 2 })
	for range 20 {
		k.answer <- struct{}{}
		if n := k.pending.Load(); n > 2 {
			t.Errorf("%d questions at once", n)
		}
	}
	all.Wait()
	if s := r.hub.Stats(); s.FetchRefused != 0 || s.Fetched != 20 {
		t.Errorf("%+v", s)
	}
}

// TestReadingLong: a past that is more than there is room for is not read to its end, which is told, and counted; and what it took
// is given back.
func TestReadingLong(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fillLarge(t, "kept", 50)
	r := newRig(t, pubsub.Options{Broker: &taken{k}, Limits: pubsub.Limits{Reading: 3 << 20}})
	for range 5 {
		messages, complete, err := r.hub.History("kept", at[0], pubsub.HistoryBound{})
		if err != nil || complete || len(messages) != 33 {
			t.Errorf("%d messages, %v, %v", len(messages), complete, err)
		}
		_, conn := r.connect()
		if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[0]}); s.Recovered || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
		if s := r.subscribe(conn, "kept/none", pubsub.SubscribeOptions{Last: 1_000_000}); s.Recovered || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
	}
	if s := r.hub.Stats(); s.FetchRefused < 5 || k.most.Load() > 1<<20+int64(len(large))+2 {
		t.Errorf("%+v, and %d bytes were read at once", s, k.most.Load())
	}
	_, conn := r.connect()
	if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[44]}); !s.Recovered || s.Sent != 5 {
		t.Errorf("%+v", s)
	}
}

// TestReadingHoldsNotAll: while the broker does not answer, half of the workers wait for it: one more waits for a moment and then goes on
// without the past, and once the broker is known to be slow others do not wait at all.
func TestReadingHoldsNotAll(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fill(t)
	k.answer = make(chan struct{})
	r := newRigWith(t, pubsub.Options{Broker: &taken{k}}, func(srv *server.Server) { srv.Runtime.Workers = 4 })
	var all sync.WaitGroup
	for i := range 2 {
		_, conn := r.connect()
		all.Go(func() {
			if s, err := r.hub.Subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[17]}); err != nil || !s.Recovered || s.Sent != 2 {
				t.Errorf("%+v, %v", s, err)
			}
		})
		r.eventually("it to wait", func() bool { return k.asked.Load() > 0 && r.hub.Waiting() == i+1 })
	}
	if !r.hub.MayWait() {
		t.Error("nobody may wait, though the broker was asked just now")
	}
	for i := range 3 {
		if i > 0 && r.hub.MayWait() {
			t.Error("one more may wait, though the broker is slow")
		}
		_, conn := r.connect()
		if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[17]}); s.Recovered || s.Sent != 0 {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if s := r.hub.Stats(); s.FetchRefused != 3 {
		t.Errorf("%+v", s)
	}
	close(k.answer)
	all.Wait()
	_, conn := r.connect()
	if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[17]}); !s.Recovered {
		t.Errorf("behind all that: %+v", s)
	}
}

// panicky is a broker whose History panics.
type panicky struct{ taken }

func (*panicky) History(context.Context, string, pubsub.Position, pubsub.HistoryBound) (pubsub.History, error) {
	panic("of the broker")
}

// TestReadingPanics: a broker that panics has not answered, and holds up nobody.
func TestReadingPanics(t *testing.T) {
	t.Parallel()
	k := &keeper{Broker: pubsub.InProcess()}
	at := k.fill(t)
	r := newRig(t, pubsub.Options{Broker: &panicky{taken{k}}})
	for range 2 {
		_, conn := r.connect()
		if s := r.subscribe(conn, "kept", pubsub.SubscribeOptions{Since: at[0]}); s.Recovered || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
		if _, _, err := r.hub.History("kept", at[0], pubsub.HistoryBound{Messages: 1}); err == nil || errors.Is(err, pubsub.ErrBusy) {
			t.Errorf("%v", err)
		}
	}
	if s := r.hub.Stats(); s.FetchFailed != 4 {
		t.Errorf("%+v", s)
	}
}
