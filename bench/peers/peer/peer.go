// Package peer is what the echo servers on other libraries have in common: the
// flag --listen, the one line that they print, and the longest message.
package peer

import (
	"flag"
	"fmt"
	"log"
	"net"
)

// MaxMessage is the longest message that a server takes, in bytes: the default
// of gws, set for the others.
const MaxMessage = 16 << 20

// Address parses the command line and gives the host:port to listen on.
func Address() string {
	address := flag.String("listen", "127.0.0.1:9001", "address `host:port` to listen on")
	flag.Parse()
	return *address
}

// Listen listens where the command line says; where that is not possible it ends
// the process. It prints the line of Accepting.
func Listen() net.Listener {
	ln, err := net.Listen("tcp", Address())
	if err != nil {
		log.Fatal(err)
	}
	Accepting(ln.Addr().String())
	return ln
}

// Accepting prints that the server accepts connections on an address.
func Accepting(address string) {
	fmt.Println("listening on", address)
}
