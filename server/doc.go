// Package server is an event-loop WebSocket server (RFC 6455, with permessage-deflate
// of RFC 7692). An idle connection holds no goroutine, buffer or timer, and handlers may
// block all the same.
//
//	srv := &server.Server{
//		Addr: "127.0.0.1:8080",
//		Handler: server.MessageFunc(func(c *server.Conn, m ws.Message) {
//			c.Send(m.Opcode, m.Payload)
//		}),
//	}
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	context.AfterFunc(ctx, stop) // a second signal ends the program at once
//	err := srv.Run(ctx, server.DrainOptions{}) // serves until a signal, then drains
//
// A [Server] accepts connections and calls a [Handler] for each: Open, Message for each
// message, Close, one at a time and in order. A [Conn] sends from any goroutine and
// never blocks: what the peer does not take waits in a bounded queue ([Queue]). A
// payload is valid until Message returns; [ws.Message.Clone] keeps it.
//
// Server.Upgrade decides on each upgrade request, and answers what belongs to the
// connection: its handler, its value (Conn.Value, [Value]), its subprotocol. It may ask
// a database. [Mux] is such a hook that routes by path. Pages of other origins are
// refused unless [Origin] allows them.
//
// Plain requests on the same port go to Server.HTTP, and a Server is an http.Handler
// itself, to be mounted in any router. ServeListener takes any net.Listener, TLS is ServeTLS, balancers are [Proxy], the end
// is Run's, or Drain's and Shutdown's. Server.Stats counts all that happens; packages
// server/prom and server/debug show it. Package server/servertest tests handlers
// without a port.
//
// The zero value of each field is a default that bounds what peers may take up: see
// [Limits], [Timeouts] and [Keepalive]. A route, or a connection after a login, may have
// its own: [ConnLimits]. A value that can not work is refused when the
// server starts: see Server.Validate.
package server

// For contributors:
//
// # The way of a byte
//
// Who runs when is package internal/loop's: a leader waits and gives connections
// their turns, one after another, and another worker leads when a handler blocks.
// Here is what a connection does. Read the files in this order: loop_shard.go (where the
// two meet), conn_turn.go (one connection's turn: read, decode, handle, write), conn_proxy.go
// (the PROXY header), conn_head.go (from request head to open connection), conn_send.go and
// conn_queue.go (the cork, the write, the queue), conn_close.go (how a connection ends), and
// conn_deadline.go (what happens when nothing happens). conn_stream.go is where bytes go when a
// descriptor alone does not carry them, conn_deflate.go what compression adds. http_handoff.go and
// http_conn.go are how plain requests get to net/http, http_return.go how their
// connections come back, http_guest.go and loop_accept_net.go what comes by a listener of somebody else's. limit.go names
// all limits; limit_admission.go (who gets in), limit_conn.go (whose limits a connection goes by), limit_rates.go (what a peer may send) and
// limit_governor.go (what may wait for all of them) are those that need more than a
// comparison. drain.go and drain_conn.go are how it all ends. log.go and
// log_peers.go are what the log gets, and why nobody waits for it.
//
// # Who may touch what
//
// Three locks matter here, and none is ever held while a handler or another
// connection is called: Conn.mu (output, state, value), Loop.mu (the inbox) and
// holders.mu (a loop's lists of what its connections hold). Conn.mu may be held while one of the others is
// taken, never the other way round. All
// else belongs either to the loop's leader or to the turn's worker; which
// fields are whose stands with them.
