// Command chat is a chat with rooms and names. It shows routing by path (Mux), JSON,
// a broadcast that is framed once, a page on the same port, and what to do about
// readers that are too slow.
//
// Start it in the folder examples:
//
//	go run ./chat
//
// and open http://127.0.0.1:8080/ in two windows. Or without a browser:
//
//	npx wscat -c 'ws://127.0.0.1:8080/rooms/hall?name=ann'
//	{"text":"hello"}
//
// Things to try: a name that is taken (the server closes with code 4409), text that
// is no JSON (1007), more than ten messages a second (1008), Ctrl-C where the server
// runs (1001, and the page comes back when the server does).
package main

import (
	"context"
	_ "embed"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

//go:embed page.html
var page []byte

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	log.Printf("chat: starting on http://%s/", *addr)
	if err := newServer(*addr).Run(ctx, server.DrainOptions{}); err != nil {
		log.Fatal(err)
	}
}

func newServer(addr string) *server.Server {
	chat := &chat{rooms: map[string]*room{}}
	upgrades := &server.Mux{}
	upgrades.HandleUpgrade("/rooms/{room}", chat.admit)

	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // an error is the browser's, which is gone
	})

	return &server.Server{
		Addr:    addr,
		Upgrade: upgrades.Upgrade, // without this line nothing is routed
		HTTP:    pages,            // what is not an upgrade
		// A message of a chat is short, and nobody types ten a second for long. Who
		// sends more is closed, with 1009 or 1008.
		Limits: server.Limits{Message: 4 << 10, MessageRate: 10, MessageBurst: 20},
		// Send never blocks: what a slow reader does not take waits here. At 256 KiB we
		// give up on him. Dropping messages instead would leave holes in what he reads;
		// closed, his page comes back and gets the history.
		Queue: server.Queue{Max: 256 << 10, Policy: server.CloseWhenFull},
		// Who has closed his laptop is found out by pings, and the others see him leave.
		Keepalive: server.Keepalive{Interval: 20 * time.Second},
	}
}

// longestName is how long a name of a person or a room may be, in bytes.
const longestName = 40

// admit decides on an upgrade request. What it answers is all that the connection
// needs to know later: its handler and its value.
func (ch *chat) admit(r *ws.Request) (server.Accept, error) {
	g := &guest{name: r.Query().Get("name"), room: r.PathValue("room")}
	if g.name == "" || len(g.name) > longestName || len(g.room) > longestName {
		return server.Accept{}, &ws.Refusal{Status: http.StatusBadRequest, Reason: "who are you? Ask for /rooms/ROOM?name=NAME"}
	}
	return server.Accept{Handler: ch, Value: g}, nil
}
