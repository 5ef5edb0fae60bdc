// Package load is the engine of package bench, which is what to use from outside.
//
//	r, err := load.Run(ctx, result.Plan{Scenario: result.Echo, URL: "ws://127.0.0.1:9001/"}, load.Watch{})
//
// [Run] opens many WebSocket connections to one server from a few event loops, on the
// same pollers that the server runs on, checks every payload that comes back, and
// returns what it measured. A program whose plans have Processes calls [RunChild]
// first in main.
package load

// The prefix of a file is its chapter: run_ the phases of a run, outside the loops;
// scenario_ what each scenario does in them, and how it answers what happens to
// connections; conn_ a connection, opened, sending, receiving, under TLS,
// compressed and as an event stream; process_ a run that is shared among processes. slices.go loads a server
// now and then, as it is told. plan.go has defaults and limits, loop.go an event loop,
// meter.go its counts, server_process.go the server from outside.
