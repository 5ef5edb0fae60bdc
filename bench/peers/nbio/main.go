// Command nbio is an echo server on github.com/lesismal/nbio.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"runtime"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/millrace/millrace/bench/peers/peer"
)

func main() {
	pool := flag.Bool("pool", false, "run handlers in the goroutine pool, nbio's default")
	ln := peer.Listen()
	logging.SetLevel(logging.LevelNone)
	config := nbhttp.Config{
		Addrs:  []string{ln.Addr().String()},
		Listen: func(string, string) (net.Listener, error) { return ln, nil },
		// No goroutine a connection: what nbio is picked for, and the mode of the
		// README's benchmark with a million connections.
		IOMod: nbhttp.IOModNonBlocking,
		// The default is a quarter of the cores, for the pool has the rest.
		NPoller: runtime.GOMAXPROCS(0),
		// Back to the memory pool after the handler, as in that benchmark.
		ReleaseWebsocketPayload: true,
		// One frame a message; the default splits what is longer than 32 KiB.
		MaxWebsocketFramePayloadSize: peer.MaxMessage,
		SupportServerOnly:            true, // no pool for clients
	}
	if !*pool {
		// "ServerExecutor sets the executor for data reading callbacks": the
		// poller's goroutine runs them, since an echo never blocks.
		config.ServerExecutor = func(f func()) { f() }
	}

	upgrader := websocket.NewUpgrader()
	config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = upgrader.Upgrade(w, r, nil) // it answers, also to bad requests
	})
	engine := nbhttp.NewEngine(config)
	upgrader.Engine = engine
	upgrader.CheckOrigin = func(*http.Request) bool { return true }
	upgrader.MessageLengthLimit = peer.MaxMessage
	upgrader.KeepaliveTime = 0 // no timer to set for each message, and no end of idle connections
	upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) {
		_ = c.WriteMessage(kind, message)
	})
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	select {}
}
