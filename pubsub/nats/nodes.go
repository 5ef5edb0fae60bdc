package nats

import (
	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
)

// heardMost is how many messages of other nodes wait. What does not fit is lost: hubs notice.
const heardMost = 4096

// Node implements pubsub.NodeBroker.
func (b *Broker) Node() string { return b.node }

// Tell implements pubsub.NodeBroker.
func (b *Broker) Tell(node string, data []byte) error {
	s := b.session.Load()
	if s == nil {
		return ErrDisconnected
	}
	if node == "" {
		node = "all"
	}
	return s.conn.Publish(b.told(node), data)
}

// told is the subject of what is told to a node.
func (b *Broker) told(node string) string { return "_millrace." + b.options.Prefix + "nodes." + node }

// listen has the hub hear what other nodes tell, until the session ends.
func (s *session) listen() error {
	b := s.broker
	receiver, ok := b.receiver.(pubsub.NodeReceiver)
	if !ok {
		return nil
	}
	heard := make(chan *nats.Msg, heardMost)
	for _, node := range []string{"all", b.node} {
		if _, err := s.conn.ChanSubscribe(b.told(node), heard); err != nil {
			return err
		}
	}
	b.ended.Go(func() {
		b.hearing.Lock() // the session before may not have ended yet
		defer b.hearing.Unlock()
		for {
			select {
			case msg := <-heard:
				receiver.Heard(msg.Data)
			case <-s.closed:
				return
			}
		}
	})
	return nil
}
