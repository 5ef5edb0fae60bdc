package pubsub

import (
	"context"
	"crypto/rand"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// memory is the broker of one process. It numbers all messages together, so that a topic which
// comes and goes never has a number twice, and nothing is to be remembered of it.
type memory struct {
	epoch    string
	receiver Receiver
	number   atomic.Uint64
	seed     maphash.Seed
	lines    [256]sync.Mutex // of topics: one message after the other
}

// InProcess is the broker of one process, the default.
func InProcess() Broker { return &memory{epoch: rand.Text()[:8], seed: maphash.MakeSeed()} }

// Start implements Broker.
func (b *memory) Start(r Receiver) error {
	b.receiver = r
	return nil
}

// Publish implements Broker.
func (b *memory) Publish(_ context.Context, m Message, o PublishOptions) (Published, error) {
	line := b.line(m.Topic)
	line.Lock()
	defer line.Unlock()
	m.Position, m.Time = Position{b.epoch, b.number.Add(1)}, time.Now()
	members, err := b.receiver.Receive(m, o)
	if err != nil {
		return Published{}, err
	}
	return Published{Position: m.Position, Members: members}, nil
}

// Position implements Broker.
func (b *memory) Position(topic string) Position {
	line := b.line(topic)
	line.Lock()
	defer line.Unlock()
	return Position{b.epoch, b.number.Load()}
}

func (b *memory) line(topic string) *sync.Mutex {
	return &b.lines[maphash.String(b.seed, topic)%uint64(len(b.lines))]
}

// Prompt implements PromptBroker.
func (b *memory) Prompt(string) bool { return true }

// Interest implements Broker: all is received.
func (b *memory) Interest(string, bool) {}

// Close implements Broker.
func (b *memory) Close() error { return nil }
