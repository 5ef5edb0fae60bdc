// Command coder is an echo and broadcast server on github.com/coder/websocket.
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

var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// receive gives one message to a handler. Read would allocate it; Reader returns
// when it has begun, so an idle connection holds no buffer. A context that can not
// end costs no timer.
func receive(c *websocket.Conn, handle func(kind websocket.MessageType, message []byte) error) error {
	kind, r, err := c.Reader(context.Background())
	if err != nil {
		return err
	}
	message := messages.Get().(*bytes.Buffer)
	defer messages.Put(message)
	message.Reset()
	if _, err := message.ReadFrom(r); err != nil {
		return err
	}
	return handle(kind, message.Bytes())
}

func echo(c *websocket.Conn) {
	answer := func(kind websocket.MessageType, message []byte) error {
		return c.Write(context.Background(), kind, message)
	}
	for receive(c, answer) == nil {
	}
}

// room is all connections of a broadcast. The package has no prepared messages
// ("Advantages of gorilla/websocket: Prepared writes"), but "concurrent writes":
// each connection frames, and compresses, the message by itself, and the goroutine
// that has read it writes to all.
type room struct{ peer.Hub[*websocket.Conn] }

func (r *room) serve(c *websocket.Conn) {
	r.Open(c)
	defer r.Close(c)
	for receive(c, r.send) == nil {
	}
}

func (r *room) send(kind websocket.MessageType, message []byte) error {
	for _, c := range r.All() {
		_ = c.Write(context.Background(), kind, message) // its own goroutine sees that it is closed
	}
	return nil
}

func main() {
	command := peer.Parse(nil)
	switch {
	case command.Takeover:
		options.CompressionMode = websocket.CompressionContextTakeover
	case command.Deflate:
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	serve := echo
	if command.Broadcast {
		serve = new(room).serve
	}
	// The connection is left to a goroutine of its own, so that the request and the
	// larger stack of the HTTP server's goroutine are free.
	log.Fatal(http.Serve(command.Listen(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &options)
		if err != nil {
			return // it has answered
		}
		go func() {
			defer c.CloseNow()
			c.SetReadLimit(peer.MaxMessage)
			serve(c)
		}()
	})))
}
