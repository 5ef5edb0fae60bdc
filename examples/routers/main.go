// Command routers has rooms behind chi or gin, with the middleware that people have
// there: loggers, recoverers, authentication. The router decides who comes into which
// room, and the server takes the connection over.
//
// Start it in the folder examples, with the one or the other:
//
//	go run ./routers -router chi
//	go run ./routers -router gin
//
// and try:
//
//	npx wscat --auth ann:tea -c ws://127.0.0.1:8080/rooms/hall
//	curl -u ann:tea http://127.0.0.1:8080/rooms
//
// chi.go and gin.go have what is different between the two, this file what is not. See
// the example mounted for net/http alone.
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	router := flag.String("router", "chi", "`chi` or gin")
	flag.Parse()

	h := &house{guests: map[string]int{}}
	sockets := &server.Server{Handler: h, Upgrade: admit}
	if err := sockets.Validate(); err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Addr: *addr, ReadHeaderTimeout: 10 * time.Second}
	switch *router {
	case "chi":
		web.Handler = newChi(h, sockets)
	case "gin":
		web.Handler = newGin(h, sockets)
	default:
		log.Fatalf("routers: -router %s: want chi or gin", *router)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ended <- end(web, sockets)
	}()
	log.Printf("routers: starting %s on http://%s/", *router, *addr)
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil { // ListenAndServe returns as soon as the end begins
		log.Fatal(err)
	}
}

// end closes both servers at once: http.Server.Shutdown knows nothing of connections
// that have left it.
func end(web *http.Server, sockets *server.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	shut := make(chan error, 1)
	go func() { shut <- web.Shutdown(ctx) }()
	return errors.Join(sockets.Drain(ctx, server.DrainOptions{}), <-shut)
}

// authenticate is what the middleware of both routers asks.
func authenticate(name, password string) bool {
	return name != "" && subtle.ConstantTimeCompare([]byte(password), []byte("tea")) == 1
}

// guest is what the router knows of a request, and the connection's value.
type guest struct{ name, room string }

// guestKey is for a request's context.
type guestKey struct{}

// enter hands the connection over. What the router has decided goes along in the
// request's context; a middleware of the router may put there what it likes, too.
func enter(sockets *server.Server, w http.ResponseWriter, r *http.Request, g guest) {
	sockets.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), guestKey{}, g)))
}

// admit is the server's Upgrade hook. Its request has the context that net/http's had.
func admit(r *ws.Request) (server.Accept, error) {
	g, ok := r.Context().Value(guestKey{}).(guest)
	if !ok {
		return server.Accept{}, errors.New("routers: an upgrade that came another way than by enter")
	}
	return server.Accept{Value: g}, nil
}

// house is the handler of all connections: it answers with who has said it where.
type house struct {
	mu     sync.Mutex
	guests map[string]int // by room
}

// count changes how many are in a room, by one.
func (h *house) count(room string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guests[room] += by; h.guests[room] == 0 {
		delete(h.guests, room)
	}
}

// rooms is a copy of the counts.
func (h *house) rooms() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.guests)
}

// Open counts the guest in.
func (h *house) Open(c *server.Conn) {
	g, _ := server.Value[guest](c)
	h.count(g.room, 1)
}

// Message answers.
func (h *house) Message(c *server.Conn, m ws.Message) {
	g, _ := server.Value[guest](c)
	_ = c.SendText(g.name + " in " + g.room + ": " + string(m.Payload)) // closing: the client sees
}

// Close counts the guest out.
func (h *house) Close(c *server.Conn, _ error) {
	g, _ := server.Value[guest](c)
	h.count(g.room, -1)
}
