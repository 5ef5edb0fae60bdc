// Command nbio is an echo and broadcast server on github.com/lesismal/nbio.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"runtime"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/millrace/millrace/bench/peers/peer"
)

func main() {
	pool := flag.Bool("pool", false, "run handlers in the goroutine pool, nbio's default")
	command := peer.Parse(peer.Lacking{
		"takeover": "nbio compresses each message by itself, with a writer from a pool (its compression.go)",
	})
	ln := command.ListenPlain()
	logging.SetLevel(logging.LevelNone)
	config := nbhttp.Config{
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
	addresses := []string{ln.Addr().String()}
	if command.TLS == nil {
		config.Addrs = addresses
	} else { // its copy of crypto/tls, which does not block
		pair := command.TLS.Certificates[0]
		config.AddrsTLS = addresses
		config.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{{Certificate: pair.Certificate, PrivateKey: pair.PrivateKey}},
			NextProtos:   command.TLS.NextProtos,
		}
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
	upgrader.KeepaliveTime = 0                  // no timer to set for each message, and no end of idle connections
	upgrader.EnableCompression(command.Deflate) // level 1
	upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) {
		_ = c.WriteMessage(kind, message)
	})
	if command.Broadcast {
		broadcast(upgrader)
	}
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	select {}
}

// broadcast sends each message to all connections. Each frames, and compresses, it
// by itself: nbio has no prepared messages. WriteMessage may be called from
// everywhere and does not block.
func broadcast(upgrader *websocket.Upgrader) {
	var clients peer.Hub[*websocket.Conn]
	upgrader.OnOpen(clients.Open)
	upgrader.OnClose(func(c *websocket.Conn, _ error) { clients.Close(c) })
	upgrader.OnMessage(func(_ *websocket.Conn, kind websocket.MessageType, message []byte) {
		for _, c := range clients.All() {
			_ = c.WriteMessage(kind, message)
		}
	})
}
