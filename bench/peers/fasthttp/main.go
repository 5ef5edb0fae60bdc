// Command fasthttp is an echo and broadcast server on github.com/fasthttp/websocket,
// the fork of gorilla/websocket for github.com/valyala/fasthttp.
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

func main() {
	command := peer.Parse(peer.Lacking{
		"takeover": `the package "does not support compression with context takeover" (its documentation)`,
	})
	upgrader.EnableCompression = command.Deflate // level 1
	serve := func(c *websocket.Conn) { peer.Echo(c) }
	if command.Broadcast {
		room := peer.Room[*websocket.PreparedMessage]{Prepare: websocket.NewPreparedMessage}
		serve = func(c *websocket.Conn) { room.Serve(c) }
	}
	server := fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			_ = upgrader.Upgrade(ctx, serve) // it answers, also to bad requests
		},
		Logger: log.New(io.Discard, "", 0),
	}
	log.Fatal(server.Serve(command.Listen()))
}
