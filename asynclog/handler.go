package asynclog

import (
	"context"
	"log/slog"
)

// Handler is a slog.Handler whose Handle never blocks: it puts a copy of the record
// into a queue, and one goroutine gives the records to another handler, in order. That
// goroutine runs only while there is something to write. A Handler may be used by any
// goroutine, whatever locks it holds.
//
// A record is dropped if the queue is full, or if the other handler panics or returns
// an error for it. Drops are counted. As soon as the other handler takes records again
// it gets a warning with their number, in the place of the missing ones.
//
// Attributes are formatted later, on the queue's goroutine: do not change them after
// logging.
type Handler struct {
	queue *queue
	inner slog.Handler
}

// New returns a Handler that passes records on to inner through a queue of its own. Only
// the queue's goroutine calls inner's Handle. Loggers call its Enabled, WithAttrs and
// WithGroup directly, so these must not block.
func New(inner slog.Handler) *Handler {
	return &Handler{queue: &queue{root: inner}, inner: inner}
}

// Enabled implements slog.Handler: it asks the other handler directly. If that panics,
// Enabled reports false and counts a drop.
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

// Dropped returns how many records were dropped by all Handlers that share h's queue.
func (h *Handler) Dropped() uint64 { return h.queue.dropped.Load() }

// Flush waits until the other handler has been given everything that was logged before,
// and returns nil, or until ctx is done, and returns its error. After a Flush that
// waited half a second or more in vain, further ones fail at once until the other handler
// has returned from a call. Records in the queue are not lost: they are written
// when the other handler takes records again.
func (h *Handler) Flush(ctx context.Context) error { return h.queue.flush(ctx) }
