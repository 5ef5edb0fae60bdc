// Command greatws is an echo and broadcast server on github.com/antlabs/greatws.
package main

import (
	"log"
	"log/slog"
	"net/http"
	"runtime"

	"github.com/antlabs/greatws"

	"github.com/millrace/millrace/bench/peers/peer"
)

type echo struct{ greatws.DefCallback }

// OnMessage is called for pings too, which the library answers by itself.
func (echo) OnMessage(c *greatws.Conn, opcode greatws.Opcode, message []byte) {
	if opcode == greatws.Text || opcode == greatws.Binary {
		_ = c.WriteMessage(opcode, message)
	}
}

// room sends each message to all connections. Each frames, and compresses, it by
// itself: greatws has no prepared messages.
type room struct {
	greatws.DefCallback
	clients peer.Hub[*greatws.Conn]
}

func (r *room) OnOpen(c *greatws.Conn)           { r.clients.Open(c) }
func (r *room) OnClose(c *greatws.Conn, _ error) { r.clients.Close(c) }

func (r *room) OnMessage(_ *greatws.Conn, opcode greatws.Opcode, message []byte) {
	if opcode != greatws.Text && opcode != greatws.Binary {
		return
	}
	for _, c := range r.clients.All() {
		_ = c.WriteMessage(opcode, message)
	}
}

func main() {
	command := peer.Parse(peer.Lacking{
		"cert": "greatws has no TLS yet (its README)",
		"key":  "greatws has no TLS yet (its README)",
		"takeover": "greatws agrees to context takeover only with a client that offers " +
			"client_no_context_takeover and server_max_window_bits",
	})
	var callback greatws.Callback = &echo{}
	if command.Broadcast {
		callback = &room{}
	}
	loops := greatws.NewMultiEventLoopMust(
		greatws.WithEventLoops(runtime.GOMAXPROCS(0)),
		greatws.WithMaxEventNum(1000), // as go-websocket-benchmark has it
		greatws.WithLogLevel(slog.LevelError+1),
	)
	loops.Start()
	options := []greatws.ServerOption{
		greatws.WithServerMultiEventLoop(loops),
		greatws.WithServerCallback(callback),
		// Without a hand-over to a task: "for light tasks, such as those of a
		// proxy, that do nothing but work on packets" (task/README.md).
		greatws.WithServerCallbackInEventLoop(),
		greatws.WithServerReplyPing(),
		greatws.WithServerIgnorePong(),
		greatws.WithServerReadMaxMessage(peer.MaxMessage),
	}
	if command.Deflate {
		options = append(options, greatws.WithServerDecompressAndCompress()) // level 1, the only one
	}
	upgrader := greatws.NewUpgrade(options...)
	// net/http serves the upgrade only: after it the descriptor is duplicated and
	// the HTTP server's connection closed.
	log.Fatal(http.Serve(command.Listen(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = upgrader.Upgrade(w, r)
	})))
}
