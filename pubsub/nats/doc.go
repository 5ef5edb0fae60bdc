// Package nats is a pubsub.Broker on NATS: what is published on one node comes to the
// subscribers of all nodes.
//
//	broker := nats.New(nats.Options{URLs: []string{"nats://10.0.0.1:4222"}})
//	hub, err := pubsub.New(srv, pubsub.Options{Broker: broker})
//
// Without a stream (core NATS) a message is delivered at most once: it is lost for a node
// that has no connection to NATS, or is too slow, and this is counted, logged and told
// (pubsub.Options.OnMissed). With a stream (Options.Stream, JetStream) messages are stored,
// have one order on all nodes, and who comes back gets what is kept or is told that something
// is missing. docs/cluster.md says what may be lost when.
//
// # Subjects
//
// The topic "orders/eu/42" is the subject "orders.eu.42", behind [Options.Prefix] and a dot if there is
// one, so other programs publish and subscribe with any NATS client. Filters are subjects with
// * and > in place of + and #. In a level the characters . * > %, space and control characters are
// written as %XX, and so are $ and _ at the very beginning; an empty level is %00. Nothing else
// is escaped: a subject that is escaped otherwise is no topic's, nor is one that begins with $ or _.
//
// A node's subscriptions are members of one queue group that nobody else is in: so the server
// sends it a message once, however many of its subscriptions meet it.
package nats
