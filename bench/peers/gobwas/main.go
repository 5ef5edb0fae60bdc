// Command gobwas is an echo server on github.com/gobwas/ws with a goroutine a
// connection.
package main

import (
	"log"
	"net"

	"github.com/gobwas/ws"

	"github.com/millrace/millrace/bench/peers/frames"
	"github.com/millrace/millrace/bench/peers/peer"
)

const readBuffer = 4 << 10 // what the other libraries have by default

// serve upgrades without net/http ("zero-copy upgrade" in the README) and answers
// frames until there is an error. The buffer grows to the longest frame, and
// stays so.
func serve(c net.Conn) {
	defer c.Close()
	if _, err := ws.Upgrade(c); err != nil {
		return // it has answered
	}
	var echo frames.Echo
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
	ln := peer.Listen()
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}
