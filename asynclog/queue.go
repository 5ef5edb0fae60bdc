package asynclog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// entry is a record on its way to a handler, or the mark of a Flush.
type entry struct {
	ctx     context.Context
	handler slog.Handler
	record  slog.Record
	lost    uint64        // records that did not fit, before this one
	mark    chan struct{} // closed when all before it is written; nil: a record
}

// queue is what waits for a handler. Its goroutine, run, begins with the first
// entry and ends when there is none left, so it needs no end from outside.
type queue struct {
	root    slog.Handler // is told of drops
	dropped atomic.Uint64

	mu      sync.Mutex // guards what follows; no other lock is taken under it, no handler called
	waiting []entry
	running bool
	lost    uint64 // records that did not fit since the last entry that did
	owed    uint64 // records dropped before waiting, of which the handler is to be told
	why     error  // the last failure of the handler among them
	failing bool   // the handler has failed for the last record
	stuck   bool   // a Flush waited in vain, and the handler has not returned since
}

// stuckAfter is how long a Flush waits before another takes it from there.
const stuckAfter = time.Second / 2

func (q *queue) put(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	room := Capacity
	if e.record.Level >= slog.LevelWarn {
		room += Reserve
	}
	if len(q.waiting) >= room {
		q.lost++
		q.dropped.Add(1)
		return
	}
	q.add(e)
}

// add lets e wait. The caller holds mu.
func (q *queue) add(e entry) {
	e.lost, q.lost = q.lost, 0
	q.waiting = append(q.waiting, e)
	if !q.running {
		q.running = true
		go q.run()
	}
}

// missed counts a record of which only that is known: Enabled panicked.
func (q *queue) missed(p any) {
	q.dropped.Add(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost++
	q.why = panicked(p)
}

func (q *queue) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mark, began := make(chan struct{}), time.Now()
	q.mu.Lock()
	switch {
	case q.stuck:
		q.mu.Unlock()
		return errStuck
	case !q.running:
		q.mu.Unlock()
		return nil
	}
	q.add(entry{mark: mark})
	q.mu.Unlock()
	select {
	case <-mark:
		return nil
	case <-ctx.Done():
		return q.giveUp(mark, time.Since(began), ctx.Err())
	}
}

// giveUp ends a Flush whose time is over, if its mark was not reached just now.
func (q *queue) giveUp(mark chan struct{}, waited time.Duration, why error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-mark:
		return nil
	default:
		q.stuck = waited >= stuckAfter
		return why
	}
}

var errStuck = errors.New("asynclog: the handler has not returned since the last Flush")

// run passes entries on until none is left. A handler that ends the goroutine
// (runtime.Goexit) gets another.
func (q *queue) run() {
	over := false
	defer func() {
		if !over {
			go q.run()
		}
	}()
	for !over {
		switch e, owed, why := q.next(); {
		case owed > 0:
			q.tell(owed, why)
		case e.mark != nil:
			close(e.mark)
		case e.handler != nil:
			q.pass(&e)
		default:
			over = true
		}
	}
}

// next is what to do next: to tell of drops, to pass an entry on, or, if neither is
// left, nothing more. A handler that has just failed is not told before it has
// taken a record.
func (q *queue) next() (e entry, owed uint64, why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stuck = false
	before := &q.lost
	if len(q.waiting) > 0 {
		before = &q.waiting[0].lost
	}
	q.owed += *before
	*before = 0
	if q.owed > 0 && !q.failing {
		owed, why = q.owed, q.why
		q.owed, q.why = 0, nil
		return entry{}, owed, why
	}
	if len(q.waiting) == 0 {
		q.waiting, q.running = nil, false
		return entry{}, 0, nil
	}
	e = q.waiting[0]
	q.waiting[0] = entry{}
	q.waiting = q.waiting[1:]
	return e, 0, nil
}

// pass gives a record to its handler.
func (q *queue) pass(e *entry) {
	q.attempt(1, 1, func() error { return e.handler.Handle(e.ctx, e.record) })
}

// tell gives the handler the warning that records were dropped.
func (q *queue) tell(dropped uint64, why error) {
	q.attempt(dropped, 0, func() error {
		ctx := context.Background()
		if !q.root.Enabled(ctx, slog.LevelWarn) {
			return nil
		}
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log records dropped", 0)
		r.AddAttrs(slog.Uint64("records", dropped))
		if why != nil {
			r.AddAttrs(slog.String("err", why.Error()))
		}
		return q.root.Handle(ctx, r)
	})
}

// attempt calls the handler. If it fails, drops is of how many records it is to be
// told, and fresh how many of them are not counted yet.
func (q *queue) attempt(drops, fresh uint64, call func() error) {
	err := errGoexit
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.failing = err != nil; q.failing {
			q.dropped.Add(fresh)
			q.owed += drops
			q.why = err
		}
	}()
	err = call()
}

// errGoexit is for a handler that neither returns nor panics.
var errGoexit = errors.New("the log's handler ended its goroutine")

func panicked(p any) error { return fmt.Errorf("the log's handler panicked: %v", p) }
