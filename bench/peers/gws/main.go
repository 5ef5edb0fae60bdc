// Command gws is an echo and broadcast server on github.com/lxzan/gws.
package main

import (
	"bytes"
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

// room broadcasts as the README does, by a Broadcaster: "The message is compressed
// only once".
type room struct {
	echo
	clients peer.Hub[*gws.Conn]
	keep    bool // the payload is used after OnMessage: it goes into the windows
}

func (r *room) OnOpen(c *gws.Conn)           { r.clients.Open(c) }
func (r *room) OnClose(c *gws.Conn, _ error) { r.clients.Close(c) }

func (r *room) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	payload := message.Bytes()
	if r.keep {
		payload = bytes.Clone(payload)
	}
	b := gws.NewBroadcaster(message.Opcode, payload)
	defer b.Close()
	for _, c := range r.clients.All() {
		_ = b.Broadcast(c)
	}
}

func main() {
	command := peer.Parse(nil)
	// Its own server rather than net/http: it reads the request and runs the read
	// loop in one goroutine, and what remains of a connection is smaller. Parallel
	// handling, compression, the check of UTF-8 ("turn off the performance will be
	// better") and recovery from panics are off, as they are by default.
	var handler gws.Event = &echo{}
	if command.Broadcast {
		handler = &room{keep: command.Takeover}
	}
	server := gws.NewServer(handler, &gws.ServerOption{
		ReadMaxPayloadSize:  peer.MaxMessage,
		WriteMaxPayloadSize: peer.MaxMessage,
		PermessageDeflate: gws.PermessageDeflate{
			Enabled:               command.Deflate,
			ServerContextTakeover: command.Takeover,
			ClientContextTakeover: command.Takeover,
		},
	})
	server.OnError = func(net.Conn, error) {} // as others, not a line for each client that went
	log.Fatal(server.RunListener(command.Listen()))
}
