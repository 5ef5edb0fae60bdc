package serve

import "github.com/millrace/millrace/server"

// limitOptions are bounds in bytes and numbers.
type limitOptions struct {
	maxMessage  int64
	maxQueue    int
	queuePolicy server.QueuePolicy
}

func (l *limitOptions) options() []option {
	policies := map[string]server.QueuePolicy{"close": server.CloseWhenFull, "drop": server.DropNewest}
	return []option{
		{"max-message", "SIZE", "largest message that is taken; a larger one closes with 1009", "1MiB", size(&l.maxMessage, 1, maxBytes)},
		{"max-queue", "SIZE", "most that waits for a connection that reads too slowly", "1MiB", size(&l.maxQueue, 1, maxBytes)},
		{"queue-policy", "POLICY", "beyond max-queue: close the connection with 1008, or drop the new message", "close", choice(&l.queuePolicy, policies, "close", "drop")},
	}
}

func (l *limitOptions) apply(s *server.Server) error {
	s.MaxMessage, s.MaxQueue, s.QueuePolicy = l.maxMessage, l.maxQueue, l.queuePolicy
	return nil
}
