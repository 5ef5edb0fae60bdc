// Package natstest tests package pubsub/nats with real servers of NATS, which run in the tests'
// process; command measure measures it. It is a module of its own, so that users of the library never see the server.
package natstest
