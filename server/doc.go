// Package server is an event-loop WebSocket server: it composes package poller
// (readiness and I/O), package internal/loop (who runs when) and package ws (the
// protocol) into connections and handlers. No goroutine, buffer or timer is held for
// an idle connection.
//
// # The way of a byte
//
// Who runs when is package internal/loop's: a leader waits and gives connections
// their turns, one after another, and another worker leads when a handler blocks.
// Here is what a connection does. Read the files in this order: shard.go (where the
// two meet), turn.go (one connection's turn: read, decode, handle, write), proxied.go
// (the PROXY header), head.go (from request head to open connection), send.go and
// queue.go (the cork, the write, the queue), close.go (how a connection ends), and
// deadline.go (what happens when nothing happens). stream.go is where bytes go when a
// descriptor alone does not carry them, deflate.go what compression adds. web.go and
// web_conn.go are how plain requests get to net/http, web_return.go how their
// connections come back. limit.go names all limits; admission.go (who gets in), rates.go (what a peer may send) and
// governor.go (what may wait for all of them) are those that need more than a
// comparison. drain.go and drain_pace.go are how it all ends. logging.go and
// details.go are what the log gets, and why nobody waits for it.
//
// # Who may touch what
//
// Three locks matter here, and none is ever held while a handler or another
// connection is called: Conn.mu (output, life, value), Loop.mu (the inbox) and
// backlog.mu (a loop's queues). Conn.mu may be held while one of the others is
// taken, never the other way round. All
// else belongs either to the loop's leader or to the turn's worker; which
// fields are whose stands with them.
package server
