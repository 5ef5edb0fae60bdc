// Command tornado is the chat that comes with Tornado as a demo, for those who know it
// from there: each part of its WebSocketHandler stands in a comment above what it is
// here. Read main.go first, then handler.go.
//
// Start it in the folder examples:
//
//	go run ./tornado
//
// and talk to it, with Tornado's own client if you like:
//
//	npx wscat -s chat.v1 -c 'ws://127.0.0.1:8888/chatsocket?name=ann'
//	{"body":"hello"}
//
// # What is different
//
// Tornado has one thread: handlers of different connections never run at the same time,
// and one that blocks holds up all others. Here they do run at the same time, one loop a
// processor, so what they share needs a lock; and one that blocks (a database, a file)
// holds up only its own connection. There is no async, no await and no executor.
//
// A handler in Tornado is an object for each connection, and its attributes are the
// connection's state. Here one Handler serves all connections, and the state is the
// connection's value.
//
// What a slow client does not take, Tornado buffers without end unless each
// write_message is awaited. Here the queue has a bound (Server.Queue).
//
// Methods of Conn may be called from any goroutine: there is no IOLoop.add_callback.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/millrace/millrace/server"
)

// In Tornado:
//
//	async def main():
//	    app = tornado.web.Application(
//	        [(r"/", MainHandler), (r"/chatsocket", ChatSocketHandler)],
//	        websocket_ping_interval=20,
//	        websocket_max_message_size=64 * 1024,
//	    )
//	    server = app.listen(8888, "127.0.0.1")
//	    stopped = asyncio.Event()
//	    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
//	    await stopped.wait()
//	    server.stop()
func main() {
	addr := flag.String("addr", "127.0.0.1:8888", "`address` to listen on")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	log.Printf("tornado: starting on http://%s/", *addr)
	// Run also closes all connections, with 1001, before it returns.
	if err := newServer(*addr).Run(ctx, server.DrainOptions{}); err != nil {
		log.Fatal(err)
	}
}

func newServer(addr string) *server.Server {
	chat := &chat{waiters: map[*server.Conn]struct{}{}}

	// (r"/chatsocket", ChatSocketHandler): patterns are those of net/http, not regular
	// expressions.
	sockets := &server.Mux{}
	sockets.HandleUpgrade("/chatsocket", chat.prepare)

	// (r"/", MainHandler): plain requests are net/http's, on the same port.
	//
	//	class MainHandler(tornado.web.RequestHandler):
	//	    def get(self):
	//	        self.write("%d are here\n" % len(ChatSocketHandler.waiters))
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "%d are here\n", chat.count()) // an error is the client's
	})

	return &server.Server{
		Addr:    addr,
		Handler: chat,
		Upgrade: sockets.Upgrade,
		HTTP:    pages,

		// websocket_ping_interval=20. There is no websocket_ping_timeout: a connection is
		// closed after two silent intervals. In Tornado both are off unless set; here the
		// interval is 25 s.
		Keepalive: server.Keepalive{Interval: 20 * time.Second},

		// websocket_max_message_size=64 * 1024; 10 MiB in Tornado, 1 MiB here.
		Limits: server.Limits{Message: 64 << 10},

		//	def get_compression_options(self):
		//	    return {}  # not None: compress
		//
		// Tornado keeps the context from message to message. So does this; the zero
		// Deflate does not, which Tornado's own client would ignore.
		Deflate: &server.Deflate{ServerTakeover: true, ClientTakeover: true},

		//	def select_subprotocol(self, subprotocols):
		//	    return "chat.v1" if "chat.v1" in subprotocols else None
		//
		// A hook that wants to choose by itself sets Accept.Subprotocol. What was
		// selected is Conn.Subprotocol.
		Subprotocols: []string{"chat.v1"},

		//	def check_origin(self, origin):
		//	    return super().check_origin(origin) or origin == "https://chat.example.com"
		//
		// As there, pages of the same origin may connect, and clients that are no
		// browsers. Tornado compares the host and port alone, the server the scheme too.
		// A function, as in Tornado, is Origin.Check.
		Origin: server.Origin{Allow: []string{"https://chat.example.com"}},
	}
}
