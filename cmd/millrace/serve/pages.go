package serve

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/millrace/millrace/client"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// route gives srv what it answers: the WebSocket /echo, topics unless they are nil, and by plain HTTP a
// page to try it, metrics unless they are nil, /healthz and /readyz. access, unless it is nil, gets two lines for each
// connection.
func route(srv *server.Server, o *httpOptions, access *slog.Logger, topics *topics, metrics http.Handler) {
	var sockets server.Mux
	pages := http.NewServeMux()
	if o.echo {
		sockets.Handle("/echo", logged(echo{}, access))
		pages.Handle("/echo", srv) // without an upgrade: 426
	}
	if topics != nil {
		hook := func(r *ws.Request) (server.Accept, error) {
			accept, err := topics.gateway.Upgrade(r)
			if err == nil {
				accept.Handler = logged(accept.Handler, access)
			}
			return accept, err
		}
		sockets.HandleUpgrade("/topics", hook)
		sockets.HandleUpgrade("/topics/{topic...}", hook)
	}
	srv.Upgrade = sockets.Upgrade

	if o.page {
		routePage(pages, topics != nil)
	}
	if o.page || topics != nil {
		pages.Handle("GET /millrace.js", client.JavaScript())
	}
	if metrics != nil {
		pages.Handle("GET /metrics", metrics)
	}
	routeHealth(pages, srv, topics)
	srv.HTTP = pages
	if topics != nil {
		srv.HTTP = topics.gateway.HTTP(pages)
	}
}

// routeHealth adds what a balancer asks: /healthz is 200 while the process
// serves, /readyz until it drains, and while topics have what they need.
func routeHealth(pages *http.ServeMux, srv *server.Server, topics *topics) {
	pages.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok\n")
	})
	pages.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch why := topics.unready(); {
		case !srv.Ready():
			answer(w, http.StatusServiceUnavailable, "shutting down\n")
		case why != "":
			answer(w, http.StatusServiceUnavailable, why+"\n")
		default:
			answer(w, http.StatusOK, "ready\n")
		}
	})
}

func answer(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the peer is gone if it fails
}

// echo answers each message with itself.
type echo struct{}

func (echo) Open(*server.Conn) {}

func (echo) Message(c *server.Conn, m ws.Message) {
	_ = c.Send(m.Opcode, m.Payload) // --queue-policy says what becomes of one that is not taken
}

func (echo) Close(*server.Conn, error) {}
