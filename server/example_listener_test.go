package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// A listener that somebody else has opened, or inherited, is served as by net/http.
func ExampleServer_ServeListener() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &server.Server{Handler: hello{}}
	served := make(chan error)
	go func() { served <- srv.ServeListener(ln) }()

	if err := sayHello(ln.Addr().String()); err != nil {
		fmt.Println(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-served)
	// Output:
	// Socket opened
	// Message received: Hello Chetan
	// Socket closed
	// server: closed
}

// A router that has decided on a request hears what became of it.
func ExampleServer_Accept() {
	srv := &server.Server{Handler: hello{}}
	defer srv.Close()
	handler := func(w http.ResponseWriter, r *http.Request) {
		err := srv.Accept(w, r, server.Accept{Value: r.URL.Query().Get("user")})
		var refusal *ws.Refusal
		if errors.As(err, &refusal) {
			fmt.Println("refused with", refusal.Status)
		}
	}
	handler(httptest.NewRecorder(), httptest.NewRequest("GET", "/chat?user=ada", nil)) // no upgrade
	// Output: refused with 426
}
