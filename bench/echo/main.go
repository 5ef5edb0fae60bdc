// Command echo is the smallest echo and broadcast server on the library, for
// comparisons. Its flags are those of the servers in bench/peers, and two more.
//
//	go run ./bench/echo --listen 127.0.0.1:9001 [--poller epoll|easygo] [--stall-every N --stall 50ms]
//	go run ./bench/echo --listen 127.0.0.1:9001 [--broadcast] [--cert FILE --key FILE] [--deflate|--takeover]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// echo answers each message with itself. Every stallEvery-th message of all
// sleeps in its handler first.
type echo struct {
	stallEvery uint64
	stall      time.Duration
	messages   atomic.Uint64
}

func (e *echo) Open(*server.Conn)         {}
func (e *echo) Close(*server.Conn, error) {}

func (e *echo) Message(c *server.Conn, m ws.Message) {
	if e.stallEvery > 0 && e.messages.Add(1)%e.stallEvery == 0 {
		time.Sleep(e.stall)
	}
	_ = c.Send(m.Opcode, m.Payload) // Close tells
}

// broadcast sends each message to all connections, the sender's too, and to all event
// streams.
type broadcast struct{ all *server.Group }

func (b *broadcast) Open(c *server.Conn) { _, _ = b.all.Join(c) } // Close tells

func (b *broadcast) Close(*server.Conn, error) {}

func (b *broadcast) Message(_ *server.Conn, m ws.Message) {
	p := ws.Prepare(m.Opcode, m.Payload)
	for {
		if _, err := b.all.Send(p); !errors.Is(err, server.ErrNoRoom) {
			return
		}
		time.Sleep(time.Millisecond) // TCP holds the publisher up meanwhile
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:9001", "address `host:port` to listen on")
	engine := flag.String("poller", "", "poller engine: "+fmt.Sprint(poller.Engines())+" (default the system's)")
	stallEvery := flag.Uint64("stall-every", 0, "every `N`th message sleeps in its handler; 0: none")
	stall := flag.Duration("stall", 50*time.Millisecond, "how long it sleeps")
	toAll := flag.Bool("broadcast", false, "send each message to all connections and event streams, not back")
	cert := flag.String("cert", "", "`file` with the certificate for TLS")
	key := flag.String("key", "", "`file` with its key")
	deflate := flag.Bool("deflate", false, "compress for clients that offer it, as the library does by default")
	takeover := flag.Bool("takeover", false, "compress with context takeover for clients that offer it")
	flag.Parse()
	if (*cert == "") != (*key == "") {
		return errors.New("--cert and --key, or none of them")
	}

	e, err := poller.New(*engine)
	if err != nil {
		return err
	}
	if _, _, err := poller.RaiseDescriptorLimit(); err != nil {
		return err
	}
	srv := &server.Server{
		Addr:    *listen,
		Runtime: server.Runtime{Engine: e},
		Handler: &echo{stallEvery: *stallEvery, stall: *stall},
	}
	if *toAll {
		srv.Handler, srv.EventStreams = &broadcast{all: srv.NewGroup(server.GroupOptions{})}, true
	}
	if *deflate || *takeover {
		srv.Deflate = &server.Deflate{ServerTakeover: *takeover, ClientTakeover: *takeover}
	}
	if *cert != "" {
		return srv.ListenAndServeTLS(*cert, *key)
	}
	return srv.ListenAndServe()
}
