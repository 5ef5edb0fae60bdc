package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Broker orders the messages of topics, and brings them to the hubs of all nodes.
//
// What it promises, of which brokertest tests what can be tested of any:
//
//   - Order. Of one topic, Receiver.Receive is called for one message after the other, never
//     at once, in the order of their positions' numbers, which grow. What one goroutine
//     publishes to one topic comes in that order.
//   - Once. A message is received at most once by each receiver.
//   - Whole or not at all. If Publish returns an error that is no ErrUnknown, no receiver gets the
//     message.
//   - Positions. Numbers of one epoch may be compared, and those of two epochs may not: a
//     new epoch means that numbers began anew. They may have gaps, and may be those of all topics
//     together.
//   - No silent gap. A message that was published and is not received, though its topic is of
//     interest, is told by Receiver.Missed, before the next message of that topic is received.
type Broker interface {
	// Start is called once, before all else.
	Start(r Receiver) error
	// Publish hands a message over. It returns when the message has its place in the topic's order.
	Publish(ctx context.Context, m Message, o PublishOptions) (Published, error)
	// Position is where a topic of interest is: each of its messages that was published before
	// the call has this number at most. Each with a larger one will be received. It may wait for a
	// message that is being received. The zero position: that is not known yet.
	Position(topic string) Position
	// Interest says that messages of a topic, or of a filter's topics, are wanted or not any
	// more. It is called within Receive and Missed too, and under locks of the hub's: it must not block, nor
	// take a lock that the broker holds there.
	Interest(name string, wanted bool)
	// Close ends it. Nothing is received after it.
	Close() error
}

// HistoryBroker is a Broker that keeps messages itself, for all nodes. What a hub keeps of such topics is a copy
// of their end, which answers most who come back; it asks the broker for what is before. brokertest.TestHistory tests it.
type HistoryBroker interface {
	Broker
	// Keeps says whether the broker keeps the messages of a topic. It must not block.
	Keeps(topic string) bool
	// History gives what is kept of a topic behind a position, from the oldest; of the zero
	// position all. It may block until ctx ends, and must not read much more than the bound says: clients choose topics and positions. The
	// hub bounds how much is asked for at once (Limits.Reading).
	History(ctx context.Context, topic string, since Position, bound HistoryBound) (History, error)
	// Purge drops what is kept of a topic, and has Receiver.Missed called on each node.
	Purge(ctx context.Context, topic string) error
}

// HistoryBound is how much of a history is wanted at most: so many messages, and so many bytes of payloads. The message that goes
// beyond the bytes is there, and may be the only one. For Hub.History 0 is no bound, and a broker is given both.
type HistoryBound struct {
	Messages int
	Bytes    int64
	// Last: the newest messages are wanted, in their order, and not the oldest. Brokers are asked so of the zero position only.
	Last bool
}

// History is what a HistoryBroker keeps of a topic.
type History struct {
	Messages []KeptMessage // none behind Through
	// None of the topic's messages behind From and up to Through is missing. From is the position that
	// was asked for, with the number 0 if that was the zero one, or a later one; when in doubt it is Through.
	From Position
	// Through is how far it goes. Each message up to there has been received, if the topic was of interest
	// when it was published, and those behind it will be.
	Through Position
	// More: messages behind Through were left out. It is then a later position than the one that was asked for. With
	// HistoryBound.Last those before From are left out, and More is false.
	More bool
}

// KeptMessage is a message with what it was published with.
type KeptMessage struct {
	Message
	Options server.SendOptions
}

// Receiver is what a broker brings messages to: a hub.
type Receiver interface {
	// Receive takes a message, and says how many members the topic, and the filters that
	// meet it, have here. With an error nobody got it: it must not count as published, or, if it
	// does already, Missed must be called.
	Receive(m Message, o PublishOptions) (members int, err error)
	// Missed says that messages of a topic may be missing; "" is of all topics.
	Missed(topic string)
}

// Message is a message of a topic.
type Message struct {
	Topic    string
	Payload  []byte
	Opcode   ws.Opcode // Text or Binary; 0 is Text
	Position Position  // where it stands in the topic's order; the broker's
	Time     time.Time // when it was published; the broker's
}

// PublishOptions are those of a message.
type PublishOptions struct {
	server.SendOptions
	// NotKept keeps the message out of the history: who comes back over it is told that
	// something is missing.
	NotKept bool
	// From is the connection that the message comes from, for Limits.PublishRate, and since its handler waits for the broker, see
	// Hub.Publish; nil: none.
	From *server.Conn
}

// Published is what became of a message.
type Published struct {
	Position Position
	// Members is how many members of the topic, and of filters that meet it, were there on this
	// node, one that is in both counted twice. It says nothing of what they could take.
	Members int
}

// Position is a place in the order of a topic's messages. It is opaque: only the broker knows
// what it counts. Positions are equal if they are ==. The zero value is none.
type Position struct {
	Epoch  string // without a dash
	Number uint64
}

// String is the position as ParsePosition reads it, "" for none.
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return p.Epoch + "-" + strconv.FormatUint(p.Number, 10)
}

// ErrPosition: a text is no position.
var ErrPosition = errors.New("pubsub: not a position")

// ParsePosition reads what Position.String gives. "" is the zero position.
func ParsePosition(text string) (Position, error) {
	if text == "" {
		return Position{}, nil
	}
	epoch, number, ok := strings.Cut(text, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || epoch == "" || strconv.FormatUint(n, 10) != number {
		return Position{}, fmt.Errorf("%w: %s", ErrPosition, quoted(text))
	}
	return Position{epoch, n}, nil
}
