// Command coder is an echo server on github.com/coder/websocket.
package main

import (
	"bytes"
	"context"
	"log"
	"net/http"
	"sync"

	"github.com/coder/websocket"

	"github.com/millrace/millrace/bench/peers/peer"
)

// Compression is off by default.
var options = websocket.AcceptOptions{InsecureSkipVerify: true}

// upgrade leaves the connection to a goroutine of its own, so that the request
// and the larger stack of the HTTP server's goroutine are free.
func upgrade(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &options)
	if err != nil {
		return // it has answered
	}
	go func() {
		defer c.CloseNow()
		c.SetReadLimit(peer.MaxMessage)
		for echo(c) == nil {
		}
	}()
}

var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// echo answers one message. Read would allocate it; Reader returns when it has
// begun, so an idle connection holds no buffer. A context that can not end costs
// no timer.
func echo(c *websocket.Conn) error {
	ctx := context.Background()
	kind, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	message := messages.Get().(*bytes.Buffer)
	defer messages.Put(message)
	message.Reset()
	if _, err := message.ReadFrom(r); err != nil {
		return err
	}
	return c.Write(ctx, kind, message.Bytes())
}

func main() {
	log.Fatal(http.Serve(peer.Listen(), http.HandlerFunc(upgrade)))
}
