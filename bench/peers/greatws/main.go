// Command greatws is an echo server on github.com/antlabs/greatws.
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

func main() {
	loops := greatws.NewMultiEventLoopMust(
		greatws.WithEventLoops(runtime.GOMAXPROCS(0)),
		greatws.WithMaxEventNum(1000), // as go-websocket-benchmark has it
		greatws.WithLogLevel(slog.LevelError+1),
	)
	loops.Start()
	upgrader := greatws.NewUpgrade(
		greatws.WithServerMultiEventLoop(loops),
		greatws.WithServerCallback(&echo{}),
		// Without a hand-over to a task: "for light tasks, such as those of a
		// proxy, that do nothing but work on packets" (task/README.md).
		greatws.WithServerCallbackInEventLoop(),
		greatws.WithServerReplyPing(),
		greatws.WithServerIgnorePong(),
		greatws.WithServerReadMaxMessage(peer.MaxMessage),
	)
	// net/http serves the upgrade only: after it the descriptor is duplicated and
	// the HTTP server's connection closed.
	log.Fatal(http.Serve(peer.Listen(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = upgrader.Upgrade(w, r)
	})))
}
