// Command mounted puts WebSockets into a program that has an http.Server already, with
// routes and middleware of its own: a board of notices, which a plain request puts up
// and WebSockets show as they come.
//
// Start it in the folder examples:
//
//	go run ./mounted
//
// then listen in one terminal and post in another:
//
//	npx wscat -c ws://127.0.0.1:8080/ws
//	curl -d 'tea is ready' http://127.0.0.1:8080/notices
//
// net/http reads the request and runs the middleware; an upgrade then leaves it for an
// event loop, and neither a goroutine nor a buffer stays behind. What remains to be
// done is two ends in place of one: http.Server.Shutdown knows nothing of connections
// that have left it. See main.
//
// A middleware's ResponseWriter needs Unwrap, as all current ones have it, or Hijack.
// http.TimeoutHandler's has neither: keep it off this path.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// patience is how long the end may take.
const patience = 30 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()

	// No Addr and no Run: connections come from net/http. Without a Handler what clients
	// send would be ignored too, with a warning in the log that it is.
	sockets := &server.Server{Handler: server.HandlerFuncs{OnOpen: welcome}}
	if err := sockets.Validate(); err != nil { // else the first request would tell
		log.Fatal(err)
	}
	web := &http.Server{Addr: *addr, Handler: logged(routes(sockets)), ReadHeaderTimeout: 10 * time.Second}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ended <- end(web, sockets)
	}()
	log.Printf("mounted: starting on http://%s/", *addr)
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil { // ListenAndServe returns as soon as the end begins
		log.Fatal(err)
	}
}

// end closes both servers at once: net/http takes nobody new, whom the other would have
// to turn away, and the other closes what a Shutdown alone would wait for, WebSockets
// over HTTP/2.
func end(web *http.Server, sockets *server.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	shut := make(chan error, 1)
	go func() { shut <- web.Shutdown(ctx) }()
	return errors.Join(sockets.Drain(ctx, server.DrainOptions{}), <-shut)
}

func routes(sockets *server.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", sockets) // without a method: over HTTP/2 the request is a CONNECT
	mux.HandleFunc("POST /notices", func(w http.ResponseWriter, r *http.Request) { post(w, r, sockets) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "%d are listening at /ws\n", sockets.Stats().States.Open) // an error is the client's
	})
	return mux
}

func welcome(c *server.Conn) { _ = c.SendText("welcome") }

// post sends a notice to all connections, from a goroutine of net/http's.
func post(w http.ResponseWriter, r *http.Request, sockets *server.Server) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<10))
	if err != nil {
		http.Error(w, "at most 4096 bytes, please", http.StatusBadRequest)
		return
	}
	p, sent := ws.Prepare(ws.Binary, text), 0 // binary: whether it is UTF-8 nobody has checked
	err = sockets.Each(r.Context(), func(c *server.Conn) bool {
		if c.SendPrepared(p) == nil {
			sent++
		}
		return true
	})
	if err != nil {
		return // the client has gone
	}
	_, _ = fmt.Fprintf(w, "told %d\n", sent)
}

// logged is a middleware as most programs have one.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusSwitchingProtocols}
		next.ServeHTTP(s, r)
		log.Printf("%s %s %d", r.Method, r.URL.Path, s.status)
	})
}

// statusWriter remembers the status. A 101 does not come by, since the event loop writes
// it: so that is what it was if nothing else was written.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == http.StatusSwitchingProtocols {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets a Server, and http.ResponseController, reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
