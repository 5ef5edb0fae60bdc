package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// hello is what Tornado's documentation shows first, a WebSocketHandler with
// open, on_message and on_close.
type hello struct{}

func (hello) Open(*server.Conn) {
	fmt.Println("Socket opened")
}

func (hello) Message(c *server.Conn, m ws.Message) {
	c.SendText("Message received: " + string(m.Payload))
	c.Close(ws.CodeNormal, "")
}

func (hello) Close(*server.Conn, error) {
	fmt.Println("Socket closed")
}

// A server, and a client that says hello to it.
func Example() {
	srv := &server.Server{Handler: hello{}}
	ln, err := srv.Listen("tcp", "127.0.0.1:0") // srv.ListenAndServe does this and the next line
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(ln)

	if err := sayHello(ln.Addr().String()); err != nil {
		fmt.Println(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Socket opened
	// Message received: Hello Chetan
	// Socket closed
}

// sayHello is a client made of bytes alone; any WebSocket client will do.
func sayHello(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		return err
	}
	// A frame: the last of a text (0x81), masked and 12 bytes long (0x80 + 12),
	// with a mask of four zeros, which changes nothing.
	io.WriteString(conn, "\x81\x8c\x00\x00\x00\x00"+"Hello Chetan")

	head := make([]byte, 2) // the server's frames have no mask
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	reply := make([]byte, head[1])
	if _, err := io.ReadFull(r, reply); err != nil {
		return err
	}
	fmt.Println(string(reply))
	_, err = io.WriteString(conn, "\x88\x82\x00\x00\x00\x00\x03\xe8") // a close frame with 1000
	return err
}

// Rooms by path, one of them closed.
func ExampleMux() {
	var mux server.Mux
	mux.HandleUpgrade("/rooms/{room}", func(r *ws.Request) (server.Accept, error) {
		room := r.PathValue("room")
		if room == "attic" {
			return server.Accept{}, &ws.Refusal{Status: http.StatusForbidden, Reason: "nobody enters the attic"}
		}
		return server.Accept{Value: room}, nil // Conn.Value in the server's Handler
	})
	srv := &server.Server{Handler: hello{}, Upgrade: mux.Upgrade}

	for _, path := range []string{"/rooms/hall", "/rooms/attic", "/cellar"} {
		var r ws.Request
		if err := r.Parse([]byte("GET " + path + " HTTP/1.1\r\nHost: example.com\r\n\r\n")); err != nil {
			fmt.Println(err)
			return
		}
		accept, err := srv.Upgrade(&r)
		fmt.Println(path, accept.Value, err)
	}
	// Output:
	// /rooms/hall hall <nil>
	// /rooms/attic <nil> ws: refused with 403: nobody enters the attic
	// /cellar <nil> ws: refused with 404: no WebSocket at this path
}

func ExampleServer_Validate() {
	srv := &server.Server{Keepalive: server.Keepalive{Interval: 1}, Origin: server.Origin{Allow: []string{"example.com"}}} // a nanosecond, and no scheme
	fmt.Println(srv.Validate())

	var wrong *server.FieldError
	if errors.As(srv.ListenAndServe(), &wrong) {
		fmt.Println("not started:", wrong.Field)
	}
	// Output:
	// server: Origin.Allow "example.com": want an origin as browsers send it, such as https://example.com, https://*.example.com, http://localhost:*, capacitor://localhost, chrome-extension://ID or file://; or null; or * for all
	// server: Keepalive.Interval 1ns: want 0, or from 1ms to 8784h0m0s
	// not started: Origin.Allow
}
