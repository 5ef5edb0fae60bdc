// Command fasthttp is an echo server on github.com/fasthttp/websocket, the fork
// of gorilla/websocket for github.com/valyala/fasthttp.
package main

import (
	"io"
	"log"
	"sync"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/bench/peers/peer"
)

// As for gorilla/websocket, whose documentation the fork has: the write buffer is
// held only for writing, that for reading is of 4 KiB.
var upgrader = websocket.FastHTTPUpgrader{
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*fasthttp.RequestCtx) bool { return true },
}

func upgrade(ctx *fasthttp.RequestCtx) {
	_ = upgrader.Upgrade(ctx, func(c *websocket.Conn) { peer.Echo(c) }) // it answers, also to bad requests
}

func main() {
	server := fasthttp.Server{Handler: upgrade, Logger: log.New(io.Discard, "", 0)}
	log.Fatal(server.Serve(peer.Listen()))
}
