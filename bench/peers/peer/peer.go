// Package peer is what the servers on other libraries have in common: their
// flags, the one line that they print, the longest message, and the set of
// connections of a broadcast.
package peer

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
)

// MaxMessage is the longest message that a server takes, in bytes: the default
// of gws, set for the others.
const MaxMessage = 16 << 20

// Command is what the command line asks for.
type Command struct {
	Address   string      // host:port to listen on
	Broadcast bool        // each message goes to every open connection, not back alone
	Deflate   bool        // permessage-deflate for clients that offer it
	Takeover  bool        // with context takeover where it is not the library's default; Deflate is set too
	TLS       *tls.Config // nil: no TLS
}

// Lacking says of flags why a library can not do what they ask for.
type Lacking map[string]string

// Parse parses the command line. What can not be had ends the process with
// status 2 and one line that says why.
func Parse(lacking Lacking) *Command {
	var c Command
	flag.StringVar(&c.Address, "listen", "127.0.0.1:9001", "address `host:port` to listen on")
	flag.BoolVar(&c.Broadcast, "broadcast", false, "send each message to every connection")
	flag.BoolVar(&c.Deflate, "deflate", false, "compress for clients that offer it, as the library does by default")
	flag.BoolVar(&c.Takeover, "takeover", false, "compress with context takeover for clients that offer it")
	cert := flag.String("cert", "", "`file` with the certificate for TLS")
	key := flag.String("key", "", "`file` with its key")
	flag.Parse()
	flag.Visit(func(f *flag.Flag) {
		if why := lacking[f.Name]; why != "" {
			Refuse("no --%s: %s", f.Name, why)
		}
	})
	switch {
	case flag.NArg() > 0:
		Refuse("flags alone, but %q is none", flag.Arg(0))
	case (*cert == "") != (*key == ""):
		Refuse("--cert and --key, or none of them")
	case *cert != "":
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			Refuse("%v", err)
		}
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	}
	c.Deflate = c.Deflate || c.Takeover
	return &c
}

// Refuse ends the process with status 2 and a line that says why.
func Refuse(format string, args ...any) {
	fmt.Fprintf(os.Stderr, filepath.Base(os.Args[0])+": "+format+"\n", args...)
	os.Exit(2)
}

// Listen listens, with TLS where it is asked for; where that is not possible it
// ends the process. It prints the line of Accepting.
func (c *Command) Listen() net.Listener {
	ln := c.ListenPlain()
	if c.TLS != nil {
		ln = tls.NewListener(ln, c.TLS)
	}
	return ln
}

// ListenPlain is Listen for a library that does TLS by itself.
func (c *Command) ListenPlain() net.Listener {
	ln, err := net.Listen("tcp", c.Address)
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
