// Command gobwas is an echo and broadcast server on github.com/gobwas/ws with a
// goroutine a connection.
package main

import (
	"log"
	"net"

	"github.com/millrace/millrace/bench/peers/frames"
	"github.com/millrace/millrace/bench/peers/peer"
)

const readBuffer = 4 << 10 // what the other libraries have by default

// room is all connections of a broadcast.
type room struct{ peer.Hub[net.Conn] }

// Write writes frames, made once, to all connections. Each takes them whole, for
// net.Conn has one writer at a time.
func (r *room) Write(frames []byte) (int, error) {
	for _, c := range r.All() {
		_, _ = c.Write(frames) // its own goroutine sees that it is closed
	}
	return len(frames), nil
}

type server struct {
	deflate bool
	room    *room // nil: echo
}

// serve upgrades without net/http ("zero-copy upgrade" in the README) and answers
// frames until there is an error. The buffer grows to the longest frame, and
// stays so.
func (s *server) serve(c net.Conn) {
	defer c.Close()
	var echo frames.Echo
	if echo.Upgrade(c, s.deflate) != nil {
		return // it has answered
	}
	if s.room != nil {
		echo.All = s.room
		s.room.Open(c)
		defer s.room.Close(c)
	}
	buf, have := make([]byte, readBuffer), 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		used, need, err := echo.Answer(buf[:have], c)
		if err != nil {
			return
		}
		have = copy(buf, buf[used:have])
		if need > len(buf) {
			buf = append(make([]byte, 0, need), buf[:have]...)[:need]
		}
	}
}

func main() {
	command := peer.Parse(peer.Lacking{
		"takeover": "package wsflate compresses a message by itself (its ServerNoContextTakeover)",
	})
	s := server{deflate: command.Deflate}
	if command.Broadcast {
		s.room = new(room)
	}
	ln := command.Listen()
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go s.serve(c)
	}
}
