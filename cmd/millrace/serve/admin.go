package serve

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
)

// Bounds of the admin address, which is for the operator and the balancer: few
// connections, small requests.
const (
	adminRequestTime = 10 * time.Second // for a request's head, and for the whole of it
	adminIdleTime    = 2 * time.Minute  // between two requests of a connection
	adminMaxHead     = 16 << 10
)

// adminPages are what the admin address answers, all in one place.
func adminPages(srv *server.Server, metrics http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	routeHealth(mux, srv)
	mux.Handle("GET /metrics", metrics)
	mux.Handle("/debug/conns", debug.Conns(srv))
	return mux
}

// adminServer is a plain net/http server on an address of its own. It shares nothing
// with the loops, so it answers whatever they and their handlers are at.
type adminServer struct {
	ln     net.Listener
	server http.Server
}

// listenAdmin opens the admin address; none is nil, whose methods do nothing.
func listenAdmin(address string, log *slog.Logger) (*adminServer, error) {
	if address == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, listenError("--admin", address, err)
	}
	return &adminServer{ln: ln, server: http.Server{
		ReadHeaderTimeout: adminRequestTime,
		ReadTimeout:       adminRequestTime,
		IdleTimeout:       adminIdleTime,
		MaxHeaderBytes:    adminMaxHead,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

// serve answers until close.
func (a *adminServer) serve(pages http.Handler) {
	if a == nil {
		return
	}
	a.server.Handler = pages
	go func() { _ = a.server.Serve(a.ln) }() // ends with ErrServerClosed
}

// close ends it, after all else: a balancer may ask until the very end.
func (a *adminServer) close() {
	if a == nil {
		return
	}
	_ = a.ln.Close()     // if nothing has been served yet, the server does not know it
	_ = a.server.Close() // the process ends
}
