// Package load is the engine of package bench: it opens many WebSocket
// connections to one server from few event loops, on the pollers that the server
// runs on, checks every payload that comes back, and measures.
//
// [Run] does what a plan of package result says. The prefix of a file is its
// chapter: run_ the phases of a run, outside the loops; scenario_ what each
// scenario does in them, and how it answers what happens to connections; conn_ a
// connection, opened, sending, receiving, under TLS and compressed; process_ a run
// that is shared among processes. plan.go has defaults and limits, loop.go an
// event loop, meter.go its counts, server_process.go the server from outside.
package load
