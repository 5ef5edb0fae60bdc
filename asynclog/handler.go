package asynclog

import (
	"context"
	"log/slog"
)

// Handler is a slog.Handler whose Handle never waits: a copy of the record waits in
// a queue, and one goroutine gives the records to another handler, in order. That
// goroutine is there only while there is something to write. Any goroutine may use
// a Handler, whatever locks it holds.
//
// A record that does not fit into the queue is dropped, and so is one for which the
// other handler panics or returns an error. Drops are counted, and as soon as the
// other handler takes records again it gets a warning with their number, in the
// place of what is missing.
//
// Values are formatted later, on the queue's goroutine: log what does not change.
type Handler struct {
	queue *queue
	inner slog.Handler
}

// New gives a Handler with a queue of its own before inner. Nobody else calls
// inner's Handle; its Enabled, WithAttrs and WithGroup are called by who logs and
// must not block.
func New(inner slog.Handler) *Handler {
	return &Handler{queue: &queue{root: inner}, inner: inner}
}

// Enabled implements slog.Handler: it asks the other handler, at once. One that
// panics is not enabled, and has dropped a record.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() {
		if p := recover(); p != nil {
			h.queue.missed(p)
		}
	}()
	return h.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler. The error is always nil.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.queue.put(entry{ctx: context.WithoutCancel(ctx), handler: h.inner, record: r.Clone()})
	return nil
}

// WithAttrs implements slog.Handler: the result shares h's queue.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return &Handler{h.queue, h.inner.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler: the result shares h's queue.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &Handler{h.queue, h.inner.WithGroup(name)}
}

// Dropped is how many records were dropped, by any Handler with h's queue.
func (h *Handler) Dropped() uint64 { return h.queue.dropped.Load() }

// Flush waits until the other handler has been given all that was logged before,
// or until ctx is done, and then returns why. If that took half a second or more, no
// other Flush waits before the other handler has returned from a call. What waits is
// not lost: it is written if the other handler takes records again.
func (h *Handler) Flush(ctx context.Context) error { return h.queue.flush(ctx) }
