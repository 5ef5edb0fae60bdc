// Command echo sends back what it gets. It is the smallest whole program: a handler,
// a server, and an orderly end.
//
// Start it in the folder examples:
//
//	go run ./echo
//
// and try it with any WebSocket client:
//
//	npx wscat -c ws://127.0.0.1:8080/
//	python3 -m websockets ws://127.0.0.1:8080/
//
// Then press Ctrl-C where the server runs: the client is told that it goes away
// (close code 1001), and only then the server ends. SIGTERM does the same.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()

	srv := &server.Server{
		Addr: *addr,
		Handler: server.MessageFunc(func(c *server.Conn, m ws.Message) {
			// The error says that the connection is closing. There is nothing to do about it.
			_ = c.Send(m.Opcode, m.Payload)
		}),
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	log.Printf("echo: starting on ws://%s/", *addr)
	if err := srv.Run(ctx, server.DrainOptions{}); err != nil { // serves until a signal, then drains
		log.Fatal(err)
	}
}
