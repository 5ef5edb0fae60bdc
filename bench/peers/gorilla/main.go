// Command gorilla is an echo server on github.com/gorilla/websocket.
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

// upgrade leaves the connection to a goroutine of its own, so that the request
// and the larger stack of the HTTP server's goroutine are free.
func upgrade(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	go func() {
		defer c.Close()
		peer.Echo(c)
	}()
}

func main() {
	log.Fatal(http.Serve(peer.Listen(), http.HandlerFunc(upgrade)))
}
