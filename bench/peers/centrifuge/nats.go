package main

import (
	"github.com/centrifugal/centrifuge"
	"github.com/centrifugal/protocol"
	"github.com/nats-io/nats.go"
)

// natsBroker brings publications to all nodes by core NATS. The library has no broker for it; centrifugo, its
// server, has one that does it like this: a subscription with a callback, and so a goroutine, for each channel, and a push
// of the protocol as the message. There is no history, and a node gets its own publications back by NATS.
type natsBroker struct {
	conn    *nats.Conn
	handler centrifuge.BrokerEventHandler
	subs    map[string]*nats.Subscription // the one channel: the library calls for it one after the other
}

func dialNATS(url string) (*natsBroker, error) {
	conn, err := nats.Connect(url, nats.ReconnectBufSize(-1), nats.MaxReconnects(-1))
	return &natsBroker{conn: conn, subs: map[string]*nats.Subscription{}}, err
}

func (b *natsBroker) RegisterBrokerEventHandler(h centrifuge.BrokerEventHandler) error {
	b.handler = h
	return nil
}

func (b *natsBroker) Subscribe(channels ...string) error {
	for _, channel := range channels {
		if b.subs[channel] != nil {
			continue
		}
		sub, err := b.conn.Subscribe("client."+channel, b.received)
		if err != nil {
			return err
		}
		b.subs[channel] = sub
	}
	return b.conn.Flush() // who is told that it is subscribed gets what is published from then on
}

func (b *natsBroker) Unsubscribe(channels ...string) error {
	for _, channel := range channels {
		sub := b.subs[channel]
		if sub == nil {
			continue
		}
		delete(b.subs, channel)
		if err := sub.Unsubscribe(); err != nil {
			return err
		}
	}
	return nil
}

func (b *natsBroker) Publish(channel string, data []byte, _ centrifuge.PublishOptions) (centrifuge.PublishResult, error) {
	push := protocol.Push{Channel: channel, Pub: &protocol.Publication{Data: data}}
	message, err := push.MarshalCF()
	if err != nil {
		return centrifuge.PublishResult{}, err
	}
	return centrifuge.PublishResult{}, b.conn.Publish("client."+channel, message)
}

func (b *natsBroker) received(msg *nats.Msg) {
	var push protocol.Push
	if push.UnmarshalCF(msg.Data) != nil || push.Pub == nil {
		return // somebody else's
	}
	_ = b.handler.HandlePublication(push.Channel, &centrifuge.Publication{Data: push.Pub.Data}, centrifuge.StreamPosition{}, false, nil) // it logs
}

// Nobody asks for joins, leaves or a history here.

func (b *natsBroker) PublishJoin(string, *centrifuge.ClientInfo) error  { return nil }
func (b *natsBroker) PublishLeave(string, *centrifuge.ClientInfo) error { return nil }

func (b *natsBroker) History(string, centrifuge.HistoryOptions) ([]*centrifuge.Publication, centrifuge.StreamPosition, error) {
	return nil, centrifuge.StreamPosition{}, centrifuge.ErrorNotAvailable
}

func (b *natsBroker) RemoveHistory(string) error { return centrifuge.ErrorNotAvailable }
