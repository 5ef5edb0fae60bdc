package server

import (
	"bytes"
	"errors"
	"fmt"
	"go/token"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

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
	routes []*route    // each before those that match all its paths and more
	asked  atomic.Bool // there was a request
}

// Handle routes requests that match the pattern to h.
func (m *Mux) Handle(pattern string, h Handler) {
	if h == nil {
		panic("server: nil handler")
	}
	accept := Accept{Handler: h, shared: &h}
	m.HandleUpgrade(pattern, func(*ws.Request) (Accept, error) { return accept, nil })
}

// HandleUpgrade lets hook decide on the requests that match the pattern, as
// Server.Upgrade does.
func (m *Mux) HandleUpgrade(pattern string, hook func(*ws.Request) (Accept, error)) {
	if hook == nil {
		panic("server: nil upgrade hook")
	}
	if m.asked.Load() {
		panic(fmt.Sprintf("server: pattern %q is registered after the first request", pattern))
	}
	parts, err := parsePattern(pattern)
	if err != nil {
		panic(fmt.Sprintf("server: pattern %q: %v", pattern, err))
	}
	at := len(m.routes)
	for i, r := range slices.Backward(m.routes) {
		shared, rWider, newWider := compare(r.parts, parts)
		if shared && rWider == newWider {
			panic(fmt.Sprintf("server: pattern %q conflicts with %q: both match some path, and neither is more specific",
				pattern, r.pattern))
		}
		if shared && rWider {
			at = i
		}
	}
	m.routes = slices.Insert(m.routes, at, &route{pattern, parts, hook})
}

// Upgrade is the hook for Server.Upgrade: it calls the one whose pattern matches,
// and refuses with 404 if there is none.
func (m *Mux) Upgrade(r *ws.Request) (Accept, error) {
	if !m.asked.Load() {
		m.asked.Store(true)
	}
	path := r.PathBytes()
	for _, rt := range m.routes {
		if rt.match(path) && clean(path) {
			rt.setPathValues(r, path)
			return rt.hook(r)
		}
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

// route is a registered pattern.
type route struct {
	pattern string
	parts   []patternPart
	hook    func(*ws.Request) (Accept, error)
}

// patternPart is what stands between two slashes of a pattern.
type patternPart struct {
	kind partKind
	text string // the literal, unescaped, or the wildcard's name
}

// partKind is ordered: what matches more is greater.
type partKind uint8

const (
	literal partKind = iota // "" stands for {$}
	one                     // {name}
	all                     // {name...}, or a final slash, whose name is ""
)

func (rt *route) match(path []byte) bool {
	for _, p := range rt.parts {
		if len(path) == 0 || p.kind == all {
			return len(path) > 0
		}
		segment, rest := cutSegment(path)
		if p.kind == one && len(segment) == 0 || p.kind == literal && !p.equals(segment) {
			return false
		}
		path = rest
	}
	return len(path) == 0
}

func (p patternPart) equals(segment []byte) bool {
	if bytes.IndexByte(segment, '%') < 0 {
		return string(segment) == p.text // does not allocate
	}
	return unescape(string(segment)) == p.text
}

// setPathValues leaves in r what the wildcards stand for in path, which matches.
func (rt *route) setPathValues(r *ws.Request, path []byte) {
	for _, p := range rt.parts {
		segment, rest := cutSegment(path)
		switch {
		case p.kind == one:
			r.SetPathValue(p.text, unescape(string(segment)))
		case p.kind == all && p.text != "":
			r.SetPathValue(p.text, unescape(string(path[1:])))
		}
		path = rest
	}
}

// cutSegment takes the first segment off a path that begins with a slash.
func cutSegment(path []byte) (segment, rest []byte) {
	path = path[1:]
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// clean reports whether the path has no segment that is ".", ".." or, but for the
// last, empty: none that ServeMux would clean away.
func clean(path []byte) bool {
	for len(path) > 0 {
		segment, rest := cutSegment(path)
		if isDots(string(segment)) || len(segment) == 0 && len(rest) > 0 {
			return false
		}
		path = rest
	}
	return true
}

func isDots(segment string) bool { return segment == "." || segment == ".." }

// unescape decodes a segment or a path; malformed escapes leave it as it is.
func unescape(s string) string {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// parsePattern takes a pattern of Mux apart; the error says what is wrong with it.
func parsePattern(pattern string) (parts []patternPart, err error) {
	if !strings.HasPrefix(pattern, "/") || strings.ContainsAny(pattern, " \t") {
		return nil, errors.New("must be a path that begins with a slash, without method and host")
	}
	segments := strings.Split(pattern[1:], "/")
	for i, segment := range segments {
		p, err := parsePart(segment, i == len(segments)-1)
		if err != nil {
			return nil, err
		}
		if p.kind != literal && slices.ContainsFunc(parts, func(q patternPart) bool { return q.kind != literal && q.text == p.text }) {
			return nil, fmt.Errorf("duplicate wildcard name %q", p.text)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func parsePart(segment string, last bool) (patternPart, error) {
	name, braced := strings.CutPrefix(segment, "{")
	name, closed := strings.CutSuffix(name, "}")
	name, multi := strings.CutSuffix(name, "...")
	switch {
	case segment == "" && last:
		return patternPart{kind: all}, nil
	case segment == "" || isDots(segment):
		return patternPart{}, fmt.Errorf("segment %q can never match: such paths are answered with 404", segment)
	case !strings.Contains(segment, "{"):
		return patternPart{kind: literal, text: unescape(segment)}, nil
	case !braced || !closed:
		return patternPart{}, fmt.Errorf("segment %q: a wildcard must be all of its segment", segment)
	case (multi || name == "$") && !last:
		return patternPart{}, fmt.Errorf("%s must stand at the end", segment)
	case name == "$" && !multi:
		return patternPart{kind: literal}, nil
	case !token.IsIdentifier(name) && !token.IsKeyword(name):
		return patternPart{}, fmt.Errorf("wildcard name %q is not a Go identifier", name)
	case multi:
		return patternPart{kind: all, text: name}, nil
	}
	return patternPart{kind: one, text: name}, nil
}

// compare tells whether there is a path that both patterns match, and if so,
// which of them matches paths that the other does not.
func compare(a, b []patternPart) (shared, aWider, bWider bool) {
	for i := range min(len(a), len(b)) {
		p, q := a[i], b[i]
		switch {
		case p.kind > q.kind:
			aWider = true
		case p.kind < q.kind:
			bWider = true
		case p.kind == literal && p.text != q.text:
			return false, false, false
		}
		end := patternPart{} // {$}: nothing, which {name} does not match
		if p == end && q.kind == one || q == end && p.kind == one {
			return false, false, false
		}
	}
	switch {
	case len(a) < len(b):
		return a[len(a)-1].kind == all, true, bWider
	case len(b) < len(a):
		return b[len(b)-1].kind == all, aWider, true
	}
	return true, aWider, bWider
}
