package serve

import (
	"fmt"
	"log/slog"

	"github.com/millrace/millrace/internal/flags"
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

const maxConns = 1 << 30

func (l *limitOptions) options() []flags.Option {
	policies := map[string]server.QueuePolicy{"close": server.CloseWhenFull, "drop": server.DropNewest, "drop-newest": server.DropNewest}
	return []flags.Option{
		flags.New("max-conns", "N", "WebSockets open at once; an upgrade beyond it gets 503; 0 is as many as there are\n"+
			"descriptors, of which an eighth, but never more than 16,384, is for handshakes, plain HTTP and files", "0", flags.Whole(&l.maxConns, 0, noMost)).Sets("Limits.Conns"),
		flags.New("max-conns-per-addr", "N", "connections from one address, or one IPv6 /64, at once; those beyond get 503;\n"+
			"0 is no bound", "0", flags.Whole(&l.maxConnsPerAddr, 0, noMost)).Sets("Limits.ConnsPerAddr"),
		flags.New("max-handshakes", "N", "connections at once that are accepted and not upgraded yet; those beyond get 503;\n"+
			"off is no bound", "16384", flags.OrOff(&l.maxHandshakes, flags.Whole(&l.maxHandshakes, 0, noMost))).Sets("Limits.Handshakes"),
		flags.New("max-http-conns", "N", "plain HTTP connections at once, idle ones included; a request on one more gets 503;\n"+
			"off is no bound", "16384", flags.OrOff(&l.maxHTTPConns, flags.Whole(&l.maxHTTPConns, 0, noMost))).Sets("Limits.HTTPConns"),
		flags.New("handshake-rate", "N", "upgrades a second; those beyond get 503; 0 is no bound", "0", flags.Whole(&l.handshakeRate, 0, noMost)).Sets("Limits.HandshakeRate"),
		flags.New("handshake-burst", "N", "upgrades at once under handshake-rate; 0 is a second's worth", "0", flags.Whole(&l.handshakeBurst, 0, noMost)).Sets("Limits.HandshakeBurst"),
		flags.New("max-head", "SIZE", "largest request head; a larger one gets 431, or 414", "16KiB", flags.Size(&l.maxHead, 0, maxBytes)).Sets("Limits.Head"),
		flags.New("max-head-lines", "N", "most lines of a request head; more get 431", "100", flags.Whole(&l.maxHeadLines, 0, noMost)).Sets("Limits.HeadLines"),
		flags.New("max-message", "SIZE", "largest message that is taken; a larger one closes with 1009", "1MiB", flags.Size(&l.maxMessage, 0, maxBytes)).Sets("Limits.Message"),
		flags.New("max-empty-fragments", "N", "empty fragments that a message may have; more close with 1008", "1000", flags.Whole(&l.maxEmptyFragments, 0, noMost)).Sets("Limits.EmptyFragments"),
		flags.New("message-rate", "N", "messages a second from a connection, pings included; more close with 1008; 0 is no bound", "0", flags.Whole(&l.messageRate, 0, noMost)).Sets("Limits.MessageRate"),
		flags.New("message-burst", "N", "messages at once under message-rate; 0 is a second's worth", "0", flags.Whole(&l.messageBurst, 0, noMost)).Sets("Limits.MessageBurst"),
		flags.New("byte-rate", "SIZE", "bytes a second from a connection; more close with 1008; 0 is no bound", "0", flags.Size(&l.byteRate, 0, maxBytes)).Sets("Limits.ByteRate"),
		flags.New("byte-burst", "SIZE", "bytes at once under byte-rate; 0 is a second's worth, or what max-message needs", "0", flags.Size(&l.byteBurst, 0, maxBytes)).Sets("Limits.ByteBurst"),
		flags.New("max-queue", "SIZE", "most that waits for a connection that reads too slowly; 0 is max-message,\n"+
			"queue-high-water and 128KiB together, at least 1MiB", "0", flags.Size(&l.maxQueue, 0, maxBytes)).Sets("Queue.Max"),
		flags.New("queue-high-water", "SIZE", "what may wait for a connection before it is not read any more; off reads on;\n"+
			"0 is 64KiB, or a quarter of max-queue if that is less", "0", flags.OrOff(&l.highWater, flags.Size(&l.highWater, 0, maxBytes))).Sets("Queue.HighWater"),
		flags.New("queue-low-water", "SIZE", "what may still wait when it is read again; 0 is a quarter of queue-high-water", "0", flags.Size(&l.lowWater, 0, maxBytes)).Sets("Queue.LowWater"),
		flags.New("max-backlog", "SIZE", "memory of all that waits for connections that read too slowly; beyond it those with\n"+
			"the most are closed with 1008; 0 is half of the memory limit, 1GiB without one;\n"+
			"off is no bound", "0", flags.OrOff(&l.maxBacklog, flags.Size(&l.maxBacklog, 0, maxBytes))).Sets("Limits.QueueMemory"),
		flags.New("max-inbound", "SIZE", "memory of all that is received and not handled: unfinished messages and the like; beyond\n"+
			"it the largest and slowest are closed with 1008; 0 is a quarter of the memory limit,\n512MiB without one; off is no bound", "0", flags.OrOff(&l.maxInbound, flags.Size(&l.maxInbound, 0, maxBytes))).Sets("Limits.InboundMemory"),
		flags.New("queue-policy", "POLICY", "beyond max-queue: close the connection (1008; 1009 if the message alone is larger), or drop the new message\n(drop, or drop-newest as in topics-rule)", "close", flags.Choice(&l.queuePolicy, policies, "close", "drop", "drop-newest")).Sets("Queue.Policy"),
	}
}

// warn tells of connections that there can not be.
func (l *limitOptions) warn(log *slog.Logger) {
	soft, hard, _ := poller.RaiseDescriptorLimit() // run reports the error
	if soft == 0 || uint64(l.maxConns) < soft {
		return
	}
	log.Warn("more connections allowed than there are descriptors", "max_conns", l.maxConns, "limit", soft, "hard", hard,
		"remedy", fmt.Sprintf("LimitNOFILE in the systemd unit, ulimit -Hn, or a lower --max-conns; millrace doctor --target %d", l.maxConns))
}

func (l *limitOptions) apply(s *server.Server) error {
	s.Limits.Conns, s.Limits.ConnsPerAddr, s.Limits.Handshakes = l.maxConns, l.maxConnsPerAddr, l.maxHandshakes
	if s.Limits.Conns == 0 {
		s.Limits.Conns = connsForDescriptors()
	}
	s.Limits.HTTPConns = l.maxHTTPConns
	s.Limits.HandshakeRate, s.Limits.HandshakeBurst = l.handshakeRate, l.handshakeBurst
	s.Limits.Head, s.Limits.HeadLines, s.Limits.EmptyFragments = l.maxHead, l.maxHeadLines, l.maxEmptyFragments
	s.Limits.MessageRate, s.Limits.MessageBurst = l.messageRate, l.messageBurst
	s.Limits.ByteRate, s.Limits.ByteBurst = l.byteRate, l.byteBurst
	s.Limits.Message, s.Queue.Max, s.Limits.QueueMemory, s.Queue.Policy = l.maxMessage, l.maxQueue, l.maxBacklog, l.queuePolicy
	s.Queue.HighWater, s.Queue.LowWater, s.Limits.InboundMemory = l.highWater, l.lowWater, l.maxInbound
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
