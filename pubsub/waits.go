package pubsub

import (
	"context"
	"slices"
	"sync"
	"time"
)

// # What a slow broker holds up
//
// Who subscribes or publishes in a handler holds a worker of the server's while the broker lets him wait. So there are places
// for those who wait, fewer than workers: when a broker does not answer, workers are left for all who do not need it. What only a
// stream that is gone holds up must not hold up what goes without it, so each kind of wait has places that those before it in
// the list can not take.
//
// Who finds no place waits for one, but not for long, and not at all if the broker has answered nothing for as long. So a
// broker that is only busy, and answers within hurryAnswer, refuses nobody.

// wait is a kind of waiting for the broker.
type wait uint8

const (
	forKept     wait = iota // for a message to be kept, or for the past, of a topic that the broker keeps
	forPosition             // for the position of such a topic
	forOthers               // for all that is of other topics
	waitKinds
)

// bound is how many may wait so, together with those of the kinds before, of so many workers.
func (k wait) bound(workers int) int {
	return max(workers*[waitKinds]int{4, 6, 7}[k]/8, 1)
}

const (
	slowAnswer  = time.Second            // a broker that takes longer is slow
	hurryAnswer = 300 * time.Millisecond // so is it while nearly all workers are held
	pastTimeout = 10 * time.Second       // for the answer to a question about the past
)

// waits are those who hold a worker and wait for the broker.
type waits struct {
	workers func() int // that there are

	mu    sync.Mutex // guards what follows; the innermost
	kinds [waitKinds]waiting
}

// waiting is what waits are of one kind.
type waiting struct {
	held  int             // who has a place
	over  int             // who goes without one, since he does not wait for long
	line  []chan struct{} // who waits for a place: closed when he has it
	asked int             // what the broker has not answered
	since time.Time       // while there is some: when it answered something, or was asked the first
}

func newWaits(workers func() int) *waits {
	return &waits{workers: sync.OnceValue(workers)}
}

// enter gives a place, until leave; false: there is none, or ctx has ended.
func (w *waits) enter(ctx context.Context, k wait) bool {
	w.mu.Lock()
	if w.room(k) {
		w.begin(k)
		w.mu.Unlock()
		return true
	}
	patience, ok := w.patience(k)
	if !ok {
		w.mu.Unlock()
		return false
	}
	turn := make(chan struct{})
	w.kinds[k].line = append(w.kinds[k].line, turn)
	w.mu.Unlock()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-turn:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.kinds[k].line, turn)
	if at >= 0 {
		w.kinds[k].line = slices.Delete(w.kinds[k].line, at, at+1)
	}
	return at < 0 // just now
}

// leave gives the place back. answered: the broker has, and soon.
func (w *waits) leave(k wait, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kinds[k].note(false, answered)
	w.kinds[k].held--
	w.admit()
}

// enterPast is enter for one who waits for the past, which others may have asked for. Without a place he may wait too, but not as long: for
// patience, until leave; nil: not at all.
func (w *waits) enterPast() (patience time.Duration, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	patience, count := pastTimeout, &w.kinds[forKept].held
	if !w.room(forKept) {
		ok := false
		if patience, ok = w.patience(forKept); !ok {
			return 0, nil
		}
		count = &w.kinds[forKept].over
	}
	*count++
	return patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		*count--
		w.admit()
	}
}

// note notes a question about the past, or that it has ended, with an answer or without.
func (w *waits) note(question, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kinds[forKept].note(question, answered)
}

func (k *waiting) note(question, answered bool) {
	if question {
		k.asked++
	} else {
		k.asked--
	}
	if answered || question && k.asked == 1 {
		k.since = time.Now()
	}
}

// room says whether there is a place. The caller holds mu.
func (w *waits) room(k wait) bool {
	workers, held := w.workers(), 0
	for kind := range waitKinds {
		if held += w.kinds[kind].held; (kind == k || kind == forOthers) && held >= kind.bound(workers) {
			return false
		}
	}
	return true
}

// patience is how long one who finds no place may wait; false: not at all. The caller holds mu.
func (w *waits) patience(k wait) (patience time.Duration, ok bool) {
	all := 0
	for i := range w.kinds {
		all += w.kinds[i].held + w.kinds[i].over + len(w.kinds[i].line)
	}
	patience = slowAnswer
	if all >= forOthers.bound(w.workers()) {
		patience = hurryAnswer
	}
	return patience, w.kinds[k].asked == 0 || time.Since(w.kinds[k].since) < patience
}

// begin gives a place to one of whom the broker will be asked something. The caller holds mu.
func (w *waits) begin(k wait) {
	w.kinds[k].held++
	w.kinds[k].note(true, false)
}

// admit gives places to those who wait for them. The caller holds mu.
func (w *waits) admit() {
	for k := range waitKinds {
		for line := &w.kinds[k].line; len(*line) > 0 && w.room(k); *line = slices.Delete(*line, 0, 1) {
			w.begin(k)
			close((*line)[0])
		}
	}
}

// # Of a hub

// PromptBroker is a Broker that says for which topics it does not keep anybody waiting. Of others, and of a broker that is none, a hub bounds how
// many hold a worker of the server's meanwhile, see Hub.Publish.
type PromptBroker interface {
	Broker
	// Prompt says that Publish to a topic, and its Position, do not wait for anything outside of this process, as it looks now. It must not
	// block.
	Prompt(topic string) bool
}

// isPrompt says whether the broker lets nobody wait for a topic that it does not keep.
func (h *Hub) isPrompt(topic string) bool { return h.prompt != nil && h.prompt.Prompt(topic) }

// publishCounted has the broker publish a message that comes from a handler.
func (h *Hub) publishCounted(ctx context.Context, m Message, o PublishOptions, kept bool) (p Published, err error) {
	k := forOthers
	if kept {
		k = forKept
	}
	if !h.waits.enter(ctx, k) {
		return Published{}, ErrBusy
	}
	answered := false // nor if it panics
	defer func() { h.waits.leave(k, answered) }()
	p, err = h.broker.Publish(ctx, m, o)
	answered = err == nil
	return p, err
}

// position is where the broker is with a topic: ErrBusy if too many wait for that.
func (h *Hub) position(name string) (Position, error) {
	k := forOthers
	switch {
	case h.brokerKeeps(name):
		k = forPosition
	case h.isPrompt(name):
		return h.broker.Position(name), nil
	}
	if !h.waits.enter(context.Background(), k) {
		return Position{}, ErrBusy
	}
	answered, began := false, time.Now()
	defer func() { h.waits.leave(k, answered) }()
	p := h.broker.Position(name)
	answered = time.Since(began) < slowAnswer
	return p, nil
}
