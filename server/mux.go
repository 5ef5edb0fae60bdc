package server

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/ws"
)

// Mux routes upgrade requests by their path: srv.Upgrade = mux.Upgrade. The zero
// value is ready. Register all patterns before the first request; after that any
// goroutine may use it.
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
// A WebSocket client follows no redirect, so where ServeMux would send one (to
// /files/ from /files, to /a from //a or /b/../a) the answer is 404.
type Mux struct {
	root   node
	routes []*route
}

// Handle routes requests that match the pattern to h.
func (m *Mux) Handle(pattern string, h Handler) {
	if h == nil {
		panic("server: nil handler")
	}
	accept := Accept{Handler: h}
	m.HandleUpgrade(pattern, func(*ws.Request) (Accept, error) { return accept, nil })
}

// HandleUpgrade lets hook decide on the requests that match the pattern, as
// Server.Upgrade does.
func (m *Mux) HandleUpgrade(pattern string, hook func(*ws.Request) (Accept, error)) {
	if hook == nil {
		panic("server: nil upgrade hook")
	}
	segments, err := parsePattern(pattern)
	if err != nil {
		panic(fmt.Sprintf("server: pattern %q: %v", pattern, err))
	}
	added := &route{pattern: pattern, segments: segments, hook: hook}
	for _, r := range m.routes {
		if conflict(r.segments, segments) {
			panic(fmt.Sprintf("server: pattern %q conflicts with %q: both match some path, and neither is more specific",
				pattern, r.pattern))
		}
	}
	m.routes = append(m.routes, added)
	m.root.add(added, segments)
}

// Upgrade is the hook for Server.Upgrade: it calls the one of the pattern that
// matches, and refuses with 404 if there is none.
func (m *Mux) Upgrade(r *ws.Request) (Accept, error) {
	path := r.PathBytes()
	found := m.root.match(path)
	if found == nil || !clean(path) {
		return Accept{}, refuseNoRoute
	}
	found.setPathValues(r, path)
	return found.hook(r)
}

var refuseNoRoute = &ws.Refusal{Status: http.StatusNotFound, Reason: "no WebSocket at this path"}

// route is a registered pattern.
type route struct {
	pattern  string
	segments []segment
	hook     func(*ws.Request) (Accept, error)
}

// setPathValues leaves in r what the wildcards stand for in path, which matches.
func (rt *route) setPathValues(r *ws.Request, path []byte) {
	for _, s := range rt.segments {
		part, rest := cutSegment(path)
		switch {
		case s.kind == one:
			r.SetPathValue(s.text, unescape(part))
		case s.kind == all && s.text != "":
			r.SetPathValue(s.text, unescape(path[1:]))
		}
		path = rest
	}
}

// node is a place in the tree of all patterns, one level a segment.
type node struct {
	literals map[string]*node // "" is {$}: what stands behind a final slash
	wildcard *node            // {name}
	rest     *route           // {name...} or a final slash
	end      *route           // the pattern that ends here
}

func (n *node) add(rt *route, segments []segment) {
	if len(segments) == 0 {
		n.end = rt
		return
	}
	var next **node
	switch s := segments[0]; s.kind {
	case all:
		n.rest = rt
		return
	case one:
		next = &n.wildcard
	default:
		child := n.literals[s.text]
		if n.literals == nil {
			n.literals = make(map[string]*node)
		}
		if child == nil {
			child = &node{}
			n.literals[s.text] = child
		}
		next = &child
	}
	if *next == nil {
		*next = &node{}
	}
	(*next).add(rt, segments[1:])
}

// match finds the most specific route for path, which is empty or begins with a
// slash. Since no two patterns conflict, that is the one that is most literal
// from the left. No node is looked at twice.
func (n *node) match(path []byte) *route {
	if len(path) == 0 {
		return n.end
	}
	part, rest := cutSegment(path)
	if child := n.literal(part); child != nil {
		if found := child.match(rest); found != nil {
			return found
		}
	}
	if n.wildcard != nil && len(part) > 0 {
		if found := n.wildcard.match(rest); found != nil {
			return found
		}
	}
	return n.rest
}

func (n *node) literal(part []byte) *node {
	if bytes.IndexByte(part, '%') < 0 {
		return n.literals[string(part)] // does not allocate
	}
	return n.literals[unescape(part)]
}

// cutSegment takes the first segment off a path that begins with a slash.
func cutSegment(path []byte) (part, rest []byte) {
	path = path[1:]
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// clean reports whether the path has no segment that is ".", ".." or, but for the
// last, empty: none that a wildcard should hand to a file system.
func clean(path []byte) bool {
	for len(path) > 0 {
		part, rest := cutSegment(path)
		if string(part) == "." || string(part) == ".." || len(part) == 0 && len(rest) > 0 {
			return false
		}
		path = rest
	}
	return true
}

// unescape decodes a path, or a part of it, whose escapes are well formed.
func unescape[T string | []byte](part T) string {
	s, err := url.PathUnescape(string(part))
	if err != nil {
		return string(part)
	}
	return s
}
