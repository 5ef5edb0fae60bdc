// Package bench is the load engine: it opens many WebSocket connections to one
// server from few event loops, on the pollers that the server runs on, checks
// every payload that comes back, and measures. Command millbench is its face.
//
// A [Plan] says what to do, [Run] does it and gives a [Result].
package bench
