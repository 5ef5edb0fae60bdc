// Package asynclog keeps a slog.Handler that is slow, stuck or broken away from
// those who log: records wait in a bounded queue, and one goroutine passes them on.
// Read handler.go for what a logger sees, queue.go for the queue and its goroutine.
package asynclog

const (
	// Capacity is how many records wait at most.
	Capacity = 1024
	// Reserve is how many more warnings and errors may: what a flood of other
	// records fills up does not hide them.
	Reserve = 64
)
