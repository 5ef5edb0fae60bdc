package server

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/millrace/millrace/internal/route"
	"github.com/millrace/millrace/ws"
)

// Mux routes upgrade requests by their path: srv.Upgrade = mux.Upgrade connects it
// with a Server; one that is not connected is asked for nothing. The zero value is ready.
// Register all patterns before the first request, later ones panic; after that any
// goroutine may use it. It must not be copied: what is registered with a copy is not
// connected. Patterns are tried one after another.
//
// Patterns are those of net/http.ServeMux without method and host. A segment is
// literal or a wildcard, whose value is ws.Request.PathValue, percent-decoded:
//
//	/chat            that path only
//	/rooms/{room}    any one segment that is not empty
//	/files/{path...} all that follows, slashes included, empty or not
//	/files/          the same without a name
//	/files/{$}       the path with its final slash only
//
// Of the patterns that match a path the most specific one wins: the one whose
// paths the others match as well. Two patterns of which that can't be said
// conflict, and the second one panics, as does one that is malformed.
//
// A WebSocket client follows no redirect, so there is none: /files is not a path
// of /files/, and one that ServeMux would clean (//a, /b/../a) gets 404.
type Mux struct {
	routes []*muxRoute // each before those that match all its paths and more
	asked  atomic.Bool // there was a request
}

// routeHandler is the Handler of a route, which all its connections share. A hook around
// Mux.Upgrade may put another one in its place.
type routeHandler struct{ handling }

// Handle routes requests that match the pattern to h, those for event streams (Server.EventStreams)
// too.
func (m *Mux) Handle(pattern string, h Handler) {
	if h == nil {
		panic(fmt.Sprintf("server: pattern %q: nil handler", pattern))
	}
	own := &routeHandler{handling{Handler: h}}
	m.HandleUpgrade(pattern, func(r *ws.Request) (Accept, error) {
		return Accept{Handler: own, EventStream: r.EventStream()}, nil
	})
}

// HandleUpgrade lets hook decide on the requests that match the pattern, as
// Server.Upgrade does. With Server.EventStreams it is asked about event streams too: set
// Accept.EventStream to r.EventStream(), or these get 500. ErrUseHTTP leaves requests to Server.HTTP. What hook takes for the
// connection is to be freed by Accept.Abandoned, or better taken in Open.
func (m *Mux) HandleUpgrade(pattern string, hook func(*ws.Request) (Accept, error)) {
	if hook == nil {
		panic(fmt.Sprintf("server: pattern %q: nil upgrade hook", pattern))
	}
	if m.asked.Load() {
		panic(fmt.Sprintf("server: pattern %q is registered after the first request", pattern))
	}
	parsed, err := route.Parse(pattern)
	if err != nil {
		panic(fmt.Sprintf("server: pattern %q: %v", pattern, err))
	}
	at := len(m.routes)
	for i, r := range slices.Backward(m.routes) {
		if r.pattern == pattern {
			panic(fmt.Sprintf("server: pattern %q is registered already", pattern))
		}
		shared, rWider, newWider := route.Compare(r.parsed, parsed)
		if shared && rWider == newWider {
			panic(fmt.Sprintf("server: pattern %q conflicts with %q: both match some path, and neither is more specific",
				pattern, r.pattern))
		}
		if shared && rWider {
			at = i
		}
	}
	m.routes = slices.Insert(m.routes, at, &muxRoute{pattern, parsed, hook})
}

// Upgrade is the hook for Server.Upgrade: it calls the one whose pattern matches,
// and refuses with 404 if there is none; but a request for an event stream is then left to
// Server.HTTP.
func (m *Mux) Upgrade(r *ws.Request) (Accept, error) {
	if !m.asked.Load() {
		m.asked.Store(true)
	}
	path := r.PathBytes()
	for _, rt := range m.routes {
		if rt.parsed.Match(path) && route.Clean(path) {
			rt.parsed.Values(path, r.SetPathValue)
			return rt.hook(r)
		}
	}
	if r.EventStream() {
		return Accept{}, ErrUseHTTP
	}
	if len(m.routes) == 0 {
		return Accept{}, refuseNoRoutes
	}
	return Accept{}, refuseNoRoute
}

var (
	refuseNoRoute  = &ws.Refusal{Status: http.StatusNotFound, Reason: "no WebSocket at this path"}
	refuseNoRoutes = &ws.Refusal{Status: http.StatusNotFound, Reason: "no WebSocket at any path: the server's Mux has no patterns"}
)

// muxRoute is a registered pattern.
type muxRoute struct {
	pattern string
	parsed  route.Pattern
	hook    func(*ws.Request) (Accept, error)
}
