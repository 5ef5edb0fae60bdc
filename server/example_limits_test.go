package server_test

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Routes with limits of their own, and one whose peers may do more after a login.
func ExampleConnLimits() {
	uploads := server.ConnLimits{Message: 1 << 30, Timeouts: server.ConnTimeouts{Lifetime: time.Hour}}
	strangers := server.ConnLimits{Message: 1 << 10, MessageRate: 1, Timeouts: server.ConnTimeouts{Idle: time.Minute}}

	store := server.StreamFunc(func(c *server.Conn, m ws.Message) {
		// m.Payload is a piece of the file, the last one if !m.More
	})
	chat := server.MessageFunc(func(c *server.Conn, m ws.Message) {
		if string(m.Payload) == "the password" {
			_ = c.SetLimits(server.ConnLimits{}) // the server's, from the next message on; fails if c is closing
		}
	})

	mux := &server.Mux{}
	mux.HandleUpgrade("/upload", func(*ws.Request) (server.Accept, error) {
		return server.Accept{Handler: store, Limits: &uploads}, nil
	})
	mux.HandleUpgrade("/chat", func(*ws.Request) (server.Accept, error) {
		return server.Accept{Handler: chat, Limits: &strangers}, nil
	})
	srv := &server.Server{Upgrade: mux.Upgrade}

	for _, path := range []string{"/upload", "/chat"} {
		var r ws.Request
		if err := r.Parse([]byte("GET " + path + " HTTP/1.1\r\n" + upgradeLines + "\r\n")); err != nil {
			fmt.Println(err)
			return
		}
		accept, err := srv.Upgrade(&r)
		fmt.Println(path, accept.Limits.Message, err)
	}
	// Output:
	// /upload 1073741824 <nil>
	// /chat 1024 <nil>
}
