// Package asynclog puts a bounded queue before a slog.Handler, so that nobody who logs
// waits for a handler that is slow or stuck.
//
//	h := asynclog.New(slog.NewTextHandler(os.Stderr, nil))
//	log := slog.New(h)
//	...
//	h.Flush(ctx) // at the end, or the last records may be missing
//
// One goroutine passes the records on, in order. Records that do not fit are dropped
// and counted, and the log says how many: see [Handler].
package asynclog

// handler.go is what a logger sees, queue.go the queue and its goroutine.

const (
	// Capacity is how many records wait at most.
	Capacity = 1024
	// Reserve is how many more warnings and errors may wait, so that a flood of
	// other records does not crowd them out.
	Reserve = 64
)
