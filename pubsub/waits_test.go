package pubsub

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
)

// TestWaitsPlaces: each kind of wait has places that those before it can not take, and there are workers that none of them takes.
func TestWaitsPlaces(t *testing.T) {
	t.Parallel()
	for workers, want := range map[int][waitKinds]int{1024: {512, 256, 128}, 16: {8, 4, 2}, 4: {2, 1, 0}, 2: {1, 0, 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWaits(func() int { return workers })
			var got [waitKinds]int
			for k := range waitKinds {
				for w.enter(t.Context(), k) {
					got[k]++
				}
			}
			if got != want {
				t.Errorf("%d workers: %v places, want %v", workers, got, want)
			}
		})
	}
}

// TestWaitsPatience: who finds no place waits for a second, or for 0.3 s while nearly all workers are held; and not at all if the
// broker has answered nothing for as long.
func TestWaitsPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWaits(func() int { return 16 })
		enter := func(want time.Duration, ok bool) {
			t.Helper()
			began := time.Now()
			if entered := w.enter(t.Context(), forKept); entered != ok || time.Since(began) != want {
				t.Errorf("%v after %v, want %v after %v", entered, time.Since(began), ok, want)
			}
		}
		for range 8 {
			enter(0, true)
		}
		enter(time.Second, false)
		enter(0, false)
		w.leave(forKept, false) // it has given up
		enter(0, true)
		enter(0, false)
		w.leave(forKept, true)
		enter(0, true)
		time.AfterFunc(time.Second/2, func() { w.leave(forKept, true) })
		enter(time.Second/2, true)
		for range 6 {
			go w.enter(t.Context(), forKept)
		}
		synctest.Wait()
		enter(hurryAnswer, false)
		enter(0, false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if w.enter(ctx, forKept) {
			t.Error("it has entered")
		}
		time.Sleep(time.Second)
		for range 8 {
			w.leave(forKept, true)
		}
		for k := range w.kinds {
			if w.kinds[k].held+w.kinds[k].asked+len(w.kinds[k].line) != 0 {
				t.Errorf("%+v", w.kinds[k])
			}
		}
	})
}

// TestWaitsPast: who waits for the past without a place, for a moment, takes none of others'.
func TestWaitsPast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWaits(func() int { return 16 })
		var ends []func()
		for i := range 20 {
			patience, leave := w.enterPast()
			want := pastTimeout
			switch {
			case i >= 14:
				want = hurryAnswer
			case i >= 8:
				want = slowAnswer
			}
			if leave == nil || patience != want {
				t.Fatalf("%d: %v, want %v", i, patience, want)
			}
			ends = append(ends, leave)
		}
		for range 4 {
			if !w.enter(t.Context(), forPosition) {
				t.Error("no place for a position")
			}
		}
		for range 2 {
			if !w.enter(t.Context(), forOthers) {
				t.Error("no place for others")
			}
		}
		for _, leave := range ends {
			leave()
		}
		if k := w.kinds[forKept]; k.held+k.over != 0 {
			t.Errorf("%+v", k)
		}
	})
}

// TestWaitsBusy: a broker that answers all, but takes 50 ms for each, refuses nobody, though all workers want something of it all the time.
func TestWaitsBusy(t *testing.T) {
	t.Parallel()
	for k := range waitKinds {
		synctest.Test(t, func(t *testing.T) {
			const workers = 64
			w := newWaits(func() int { return workers })
			var all sync.WaitGroup
			for range workers {
				all.Go(func() {
					for range 20 {
						if !w.enter(t.Context(), k) {
							t.Errorf("kind %d: refused", k)
							return
						}
						time.Sleep(50 * time.Millisecond)
						w.leave(k, true)
					}
				})
			}
			all.Wait()
		})
	}
}

// counted is a broker that notes how many wait for it at once.
type counted struct {
	Broker
	most, now atomic.Int64
}

func (b *counted) wait() {
	if n := b.now.Add(1); n > b.most.Load() {
		b.most.Store(n)
	}
	time.Sleep(time.Millisecond)
	b.now.Add(-1)
}

func (b *counted) Publish(ctx context.Context, m Message, o PublishOptions) (Published, error) {
	b.wait()
	return b.Broker.Publish(ctx, m, o)
}

func (b *counted) Position(topic string) Position {
	b.wait()
	return b.Broker.Position(topic)
}

// TestPlacesAreTaken: of a broker that does not say that it is prompt each publication of a connection's, and each position, takes a place, and those who find
// none get ErrBusy, or come later.
func TestPlacesAreTaken(t *testing.T) {
	t.Parallel()
	b := &counted{Broker: InProcess()}
	conns := make(chan *server.Conn, 1)
	srv := &server.Server{Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) { conns <- c }}}
	srv.Runtime.Workers = 16
	hub, err := New(srv, Options{Broker: b})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	s := servertest.Start(t, srv)
	var all sync.WaitGroup
	for range 50 {
		s.Connect("/")
		conn := <-conns
		all.Go(func() {
			for i := range 10 {
				if _, err := hub.Subscribe(conn, "b"+string(rune('0'+i)), SubscribeOptions{}); err != nil && !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				if _, err := hub.Publish(t.Context(), Message{Topic: "a"}, PublishOptions{From: conn}); err != nil && !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if b.most.Load() > 14 {
		t.Errorf("%d waited at once", b.most.Load())
	}
}
