package serve

import (
	"fmt"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// limitOptions are bounds in bytes and numbers.
type limitOptions struct {
	maxConns, maxConnsPerAddr, maxHandshakes int
	maxHTTPConns                             int
	handshakeRate, handshakeBurst            int
	maxHead, maxHeadLines, maxEmptyFragments int
	maxMessage                               int64
	messageRate, messageBurst                int
	byteRate, byteBurst                      int64
	maxQueue, highWater, lowWater            int
	maxBacklog, maxInbound                   int64
	queuePolicy                              server.QueuePolicy
}

const (
	maxConns = 1 << 30
	maxRate  = 1_000_000 // a second
)

func (l *limitOptions) options() []option {
	policies := map[string]server.QueuePolicy{"close": server.CloseWhenFull, "drop": server.DropNewest}
	return []option{
		{"max-conns", "N", "WebSockets open at once; an upgrade beyond it gets 503; 0 is as many as there are\n" +
			"descriptors, less an eighth of them (at most 16,384) for handshakes, plain HTTP and files", "0", number(&l.maxConns, 0, maxConns)},
		{"max-conns-per-addr", "N", "connections from one address, or one IPv6 /64, at once; those beyond get 503;\n" +
			"0 is no bound", "0", number(&l.maxConnsPerAddr, 0, maxConns)},
		{"max-handshakes", "N", "connections at once that are accepted and not upgraded yet; those beyond get 503", "16384", number(&l.maxHandshakes, 1, maxConns)},
		{"max-http-conns", "N", "plain HTTP connections at once, idle ones included; a request on one more gets 503", "16384", number(&l.maxHTTPConns, 1, maxConns)},
		{"handshake-rate", "N", "upgrades a second; those beyond get 503; 0 is no bound", "0", number(&l.handshakeRate, 0, maxRate)},
		{"handshake-burst", "N", "upgrades at once under handshake-rate; 0 is a second's worth", "0", number(&l.handshakeBurst, 0, maxConns)},
		{"max-head", "SIZE", "largest request head; a larger one gets 431, or 414", "16KiB", size(&l.maxHead, 64, 1<<20)},
		{"max-head-lines", "N", "most lines of a request head; more get 431", "100", number(&l.maxHeadLines, 1, 100_000)},
		{"max-message", "SIZE", "largest message that is taken; a larger one closes with 1009", "1MiB", size(&l.maxMessage, 1, maxBytes)},
		{"max-empty-fragments", "N", "empty fragments that a message may have; more close with 1008", "1000", number(&l.maxEmptyFragments, 1, maxRate)},
		{"message-rate", "N", "messages a second from a connection, pings included; more close with 1008; 0 is no bound", "0", number(&l.messageRate, 0, maxRate)},
		{"message-burst", "N", "messages at once under message-rate; 0 is a second's worth", "0", number(&l.messageBurst, 0, maxConns)},
		{"byte-rate", "SIZE", "bytes a second from a connection; more close with 1008; 0 is no bound", "0", size(&l.byteRate, 0, maxBytes)},
		{"byte-burst", "SIZE", "bytes at once under byte-rate; 0 is a second's worth, or what max-message needs", "0", size(&l.byteBurst, 0, maxBytes)},
		{"max-queue", "SIZE", "most that waits for a connection that reads too slowly; 0 is what max-message needs\n" +
			"above queue-high-water, at least 1MiB", "0", size(&l.maxQueue, 0, maxBytes)},
		{"queue-high-water", "SIZE", "what may wait for a connection before it is not read any more; off reads on;\n" +
			"0 is 64KiB, or a quarter of max-queue if that is less", "0", sizeOrOff(&l.highWater, maxBytes)},
		{"queue-low-water", "SIZE", "what may still wait when it is read again; 0 is a quarter of queue-high-water", "0", size(&l.lowWater, 0, maxBytes)},
		{"max-backlog", "SIZE", "memory of all that waits for connections that read too slowly; beyond it those with\n" +
			"the most are closed with 1008; 0 is half of the memory limit, 1GiB without one", "0", size(&l.maxBacklog, 0, 1<<40)},
		{"max-inbound", "SIZE", "memory of all that is received and not handled: unfinished messages and the like; beyond\n" +
			"it the largest and slowest are closed with 1008; 0 is a quarter of the memory limit,\n512MiB without one", "0", size(&l.maxInbound, 0, 1<<40)},
		{"queue-policy", "POLICY", "beyond max-queue: close the connection with 1008, or drop the new message", "close", choice(&l.queuePolicy, policies, "close", "drop")},
	}
}

// check refuses settings that contradict each other.
func (l *limitOptions) check() error {
	switch {
	case l.handshakeBurst > 0 && l.handshakeRate == 0:
		return fmt.Errorf("--handshake-burst %d says nothing without --handshake-rate", l.handshakeBurst)
	case l.maxConns > 0 && l.maxConnsPerAddr > l.maxConns:
		return fmt.Errorf("--max-conns-per-addr %d is more than --max-conns %d allows in all", l.maxConnsPerAddr, l.maxConns)
	case l.maxBacklog > 0 && l.maxBacklog < int64(l.maxQueue):
		return fmt.Errorf("--max-backlog %s for all is less than --max-queue %s for each",
			formatSize(l.maxBacklog), formatSize(int64(l.maxQueue)))
	case l.maxQueue > 0 && l.highWater > l.maxQueue:
		return fmt.Errorf("--queue-high-water %s is more than --max-queue %s lets wait",
			formatSize(int64(l.highWater)), formatSize(int64(l.maxQueue)))
	case l.highWater < 0 && l.lowWater > 0:
		return fmt.Errorf("--queue-low-water %s says nothing with --queue-high-water off", formatSize(int64(l.lowWater)))
	case l.highWater > 0 && l.lowWater > l.highWater:
		return fmt.Errorf("--queue-low-water %s is more than --queue-high-water %s",
			formatSize(int64(l.lowWater)), formatSize(int64(l.highWater)))
	case l.maxInbound > 0 && l.maxInbound < l.maxMessage:
		return fmt.Errorf("--max-inbound %s for all is less than --max-message %s for each",
			formatSize(l.maxInbound), formatSize(l.maxMessage))
	case l.messageBurst > 0 && l.messageRate == 0:
		return fmt.Errorf("--message-burst %d says nothing without --message-rate", l.messageBurst)
	case l.byteBurst > 0 && l.byteRate == 0:
		return fmt.Errorf("--byte-burst %s says nothing without --byte-rate", formatSize(l.byteBurst))
	case l.byteBurst > 0 && l.byteBurst < l.maxMessage:
		return fmt.Errorf("--byte-burst %s is less than --max-message %s: such a message would close its connection",
			formatSize(l.byteBurst), formatSize(l.maxMessage))
	}
	return nil
}

func (l *limitOptions) apply(s *server.Server) error {
	s.MaxConns, s.MaxConnsPerAddr, s.MaxHandshakes = l.maxConns, l.maxConnsPerAddr, l.maxHandshakes
	if s.MaxConns == 0 {
		s.MaxConns = connsForDescriptors()
	}
	s.MaxHTTPConns = l.maxHTTPConns
	s.HandshakeRate, s.HandshakeBurst = l.handshakeRate, l.handshakeBurst
	s.MaxHead, s.MaxHeadLines, s.MaxEmptyFragments = l.maxHead, l.maxHeadLines, l.maxEmptyFragments
	s.MessageRate, s.MessageBurst = l.messageRate, l.messageBurst
	s.ByteRate, s.ByteBurst = l.byteRate, l.byteBurst
	s.MaxMessage, s.MaxQueue, s.MaxBacklog, s.QueuePolicy = l.maxMessage, l.maxQueue, l.maxBacklog, l.queuePolicy
	s.QueueHighWater, s.QueueLowWater, s.MaxInbound = l.highWater, l.lowWater, l.maxInbound
	return nil
}

// connsForDescriptors is how many WebSockets leave an eighth of the descriptors,
// or 16,384, to all else: who comes then is told so, instead of waiting until
// there are descriptors again. 0: it is not known.
func connsForDescriptors() int {
	soft, _, _ := poller.RaiseDescriptorLimit() // run reports the error
	return int(min(soft-ReservedDescriptors(soft), maxConns))
}

// ReservedDescriptors is how many of a limit of descriptors are kept from
// WebSockets by default.
func ReservedDescriptors(limit uint64) uint64 { return min(limit/8, 16<<10) }
