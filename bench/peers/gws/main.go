// Command gws is an echo server on github.com/lxzan/gws.
package main

import (
	"log"
	"net"

	"github.com/lxzan/gws"

	"github.com/millrace/millrace/bench/peers/peer"
)

// echo writes from the read loop, as the example echo of the package does, and
// gives each message's buffer back to the pool.
type echo struct{ gws.BuiltinEventHandler }

func (echo) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (echo) OnMessage(c *gws.Conn, message *gws.Message) {
	defer message.Close()
	_ = c.WriteMessage(message.Opcode, message.Bytes()) // errors "are ignorable, and are handled internally" (README)
}

func main() {
	// Its own server rather than net/http: it reads the request and runs the read
	// loop in one goroutine, and what remains of a connection is smaller. Parallel
	// handling, compression, the check of UTF-8 ("turn off the performance will be
	// better") and recovery from panics are off, as they are by default.
	server := gws.NewServer(&echo{}, &gws.ServerOption{
		ReadMaxPayloadSize:  peer.MaxMessage,
		WriteMaxPayloadSize: peer.MaxMessage,
	})
	server.OnError = func(net.Conn, error) {} // as others, not a line for each client that went
	log.Fatal(server.RunListener(peer.Listen()))
}
