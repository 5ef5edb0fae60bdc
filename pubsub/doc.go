// Package pubsub is publish and subscribe on the event loops of package server:
// connections subscribe to topics and to filters of topics, and what is published to a topic
// gets to each of them, in the topic's order, once.
//
//	hub, err := pubsub.New(srv, pubsub.Options{})
//	...
//	hub.Subscribe(conn, "sensors/7/temp", pubsub.SubscribeOptions{})
//	hub.Subscribe(conn, "sensors/+/alarm", pubsub.SubscribeOptions{})
//	hub.Publish(ctx, pubsub.Message{Topic: "sensors/7/temp", Payload: []byte("21.5")})
//
// A topic is a [server.Group]; it comes into being with its first subscriber, or its first
// message that is kept, and is gone with the last of both. Rules say which topics keep how
// much of their past, and which tell who is there. A connection that comes back with the
// position of the last message it has seen gets what it missed, or is told that something is missing.
//
// Who orders and keeps messages is a [Broker]. The default one is this process.
//
// A subscription ends with its connection. All methods may be called from any goroutine.
// Those of Hub do not block but for what the broker takes in Publish and Subscribe, which
// that of one process does not. Whoever may subscribe to names that a client chooses
// checks them first: a filter such as "#" is a name too, see [IsFilter].
package pubsub

// For contributors: hub.go has what a hub is, publish.go a message's way in and subscribe.go a connection's; topic.go is a
// topic, history.go what it keeps, past.go what a broker keeps before that and past_read.go how much is read of it, waits.go who may wait for a broker, and history_read.go and gap.go are
// who asks and what is missing. names.go and covers.go are names. conn.go is what a hub knows of a
// connection, presence.go who is there, and nodes*.go the same on many nodes. broker.go is the interface,
// broker_inprocess.go the broker of one process.
