// Command gorilla is an echo and broadcast server on github.com/gorilla/websocket, which
// broadcasts to the event streams of net/http too.
package main

import (
	"log"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/bench/peers/peer"
)

// The chapter Buffers of the package's documentation: with a pool "a connection
// holds the write buffer only when writing a message"; with no size for reading
// the HTTP server's buffer of 4 KiB is used on.
var upgrader = websocket.Upgrader{
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true },
}

func main() {
	command := peer.Parse(peer.Lacking{
		"takeover": `the package "does not support compression with context takeover" (its documentation)`,
	})
	upgrader.EnableCompression = command.Deflate // level 1
	serve := func(c *websocket.Conn) { peer.Echo(c) }
	streams := &peer.Streams{}
	if command.Broadcast {
		room := peer.Room[*websocket.PreparedMessage]{Prepare: websocket.NewPreparedMessage, Streams: streams}
		serve = func(c *websocket.Conn) { room.Serve(c) }
	}
	// The connection is left to a goroutine of its own, so that the request and the
	// larger stack of the HTTP server's goroutine are free.
	log.Fatal(http.Serve(command.Listen(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if command.Broadcast && streams.Wanted(r) {
			streams.ServeHTTP(w, r)
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	})))
}
