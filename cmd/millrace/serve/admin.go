package serve

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
)

// Bounds of the admin address, which is for the operator and the balancer: few
// connections, small requests.
const (
	adminRequestTime = 10 * time.Second // for a request's head, and for the whole of it
	adminAnswerTime  = 30 * time.Second // for taking the answer, from the request's head on
	adminIdleTime    = 2 * time.Minute  // between two requests of a connection
	adminMaxHead     = 16 << 10
	adminMaxConns    = 64
)

// adminPages are what the admin address answers, all in one place. Whether the server is
// well anybody may ask, by any name.
func adminPages(srv *server.Server, a *adminOptions, topics *topics, metrics http.Handler, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	routeHealth(mux, srv, topics)
	if a.metrics != metricsOff {
		mux.Handle("GET /metrics", scrapeHost(a.token.guard(metrics, log), a.hosts))
	}
	guarded := func(page http.Handler) http.Handler { return debug.CheckHost(a.token.guard(page, log), a.hosts...) }
	mux.Handle("/debug/conns", guarded(debug.Conns(srv, a.hosts...)))
	if topics != nil {
		mux.Handle("GET /debug/nodes", guarded(http.HandlerFunc(topics.showNodes)))
		mux.Handle("/debug/users", guarded(http.HandlerFunc(topics.orderUser)))
	}
	return mux
}

// adminServer is a plain net/http server on an address of its own. It shares nothing
// with the loops, so it answers whatever they and their handlers are at; and since the
// newest connections are those that stay, whatever others do on it.
type adminServer struct {
	ln     net.Listener
	server http.Server
}

// listenAdmin opens the admin address; none is nil, whose methods do nothing.
func listenAdmin(a *adminOptions, log *slog.Logger) (*adminServer, error) {
	if a.address == "" {
		return nil, nil
	}
	ln, err := listenOn(a.address, a.mode)
	if err != nil {
		return nil, listenError("--admin", a.address, err)
	}
	a.warn(log, ln.Addr())
	crowd := crowd{conns: make(map[net.Conn]uint64)}
	return &adminServer{ln: ln, server: http.Server{
		ReadHeaderTimeout: adminRequestTime,
		ReadTimeout:       adminRequestTime,
		WriteTimeout:      adminAnswerTime,
		IdleTimeout:       adminIdleTime,
		MaxHeaderBytes:    adminMaxHead,
		ConnState:         crowd.note,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

// crowd bounds the connections of the admin address. One more than there may be ends that
// on which a request has begun or ended the longest ago: so those who send nothing, or
// read nothing, keep nobody out.
type crowd struct {
	mu    sync.Mutex
	clock uint64 // counts what happens
	conns map[net.Conn]uint64
}

// note is called by net/http when something happens on a connection.
func (c *crowd) note(conn net.Conn, state http.ConnState) {
	if oldest := c.enter(conn, state); oldest != nil {
		_ = oldest.Close() // its goroutine sees that, and tells nobody
	}
}

// enter notes it, and gives the connection that has to go.
func (c *crowd) enter(conn net.Conn, state http.ConnState) (oldest net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.conns[conn]
	switch {
	case state == http.StateClosed || state == http.StateHijacked:
		delete(c.conns, conn)
		return nil
	case !known && state != http.StateNew:
		return nil // it had to go
	}
	c.clock++
	c.conns[conn] = c.clock
	if len(c.conns) <= adminMaxConns {
		return nil
	}
	for other, at := range c.conns {
		if oldest == nil || at < c.conns[oldest] {
			oldest = other
		}
	}
	delete(c.conns, oldest)
	return oldest
}

// serve answers until close.
func (a *adminServer) serve(pages http.Handler) {
	if a == nil {
		return
	}
	a.server.Handler = pages
	go func() { _ = a.server.Serve(a.ln) }() // ends with ErrServerClosed
}

// where is the line that says where it is, for stdout.
func (a *adminServer) where() string {
	if a == nil {
		return ""
	}
	return fmt.Sprintf("admin on %s\n", urlOf("http", a.ln.Addr()))
}

// close ends it, after all else: a balancer may ask until the very end.
func (a *adminServer) close() {
	if a == nil {
		return
	}
	_ = a.ln.Close()     // if nothing has been served yet, the server does not know it
	_ = a.server.Close() // the process ends
}
