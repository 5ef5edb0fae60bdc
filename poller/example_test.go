//go:build linux || darwin || dragonfly || freebsd

package poller_test

import (
	"fmt"
	"log"
	"net"

	"github.com/millrace/millrace/poller"
)

// A server that takes one connection and prints what it says.
func Example() {
	engine, err := poller.New("")
	if err != nil {
		log.Fatal(err)
	}
	p, err := engine.NewPoller()
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	listener, err := engine.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	const listening, talking poller.Token = 1, 2
	if err := p.Add(listener.FD(), listening); err != nil {
		log.Fatal(err)
	}

	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "good morning")

	events, buffer, fd := make([]poller.Event, 16), make([]byte, 64), -1
	for {
		n, err := p.Wait(events, -1)
		if err != nil {
			log.Fatal(err)
		}
		for _, event := range events[:n] {
			switch event.Token {
			case listening:
				if fd, _, err = listener.Accept(); err == nil {
					p.Add(fd, talking)
				}
			case talking:
				if n, err := engine.Read(fd, buffer); err == nil {
					fmt.Printf("%s\n", buffer[:n])
					p.CloseFD(fd)
					p.Remove(listener.FD())
					return
				}
			}
		}
	}
	// Output: good morning
}
