// Package route matches request paths with patterns like those of net/http.ServeMux.
//
//	p, err := route.Parse("/rooms/{room}/{rest...}")
//	if p.Match(path) {
//		p.Values(path, func(name, value string) { ... }) // room and rest
//	}
//
// A segment of a pattern is literal, or {name} for any one segment. At the end stands
// {name...} or a slash for everything that follows, or {$} for nothing. Among patterns
// that match the same path [Compare] finds the more specific one. [Clean] is for paths
// that ServeMux would redirect. All of it may be called from any goroutine.
package route

import (
	"bytes"
	"errors"
	"fmt"
	"go/token"
	"net/url"
	"slices"
	"strings"
)

// Pattern is a parsed pattern. It never changes.
type Pattern struct{ parts []part }

// Parse parses a pattern. The error says what is wrong with it.
func Parse(pattern string) (Pattern, error) {
	parts, err := parsePattern(pattern)
	return Pattern{parts}, err
}

// Match reports whether the pattern matches a path, which is still percent-encoded. It
// allocates only where the path has escapes.
func (p Pattern) Match(path []byte) bool {
	for _, q := range p.parts {
		if len(path) == 0 || q.kind == all {
			return len(path) > 0
		}
		segment, rest := cutSegment(path)
		if q.kind == one && len(segment) == 0 || q.kind == literal && !q.equals(segment) {
			return false
		}
		path = rest
	}
	return len(path) == 0
}

// Values calls set for each wildcard with its name and its decoded value in a path that
// matches.
func (p Pattern) Values(path []byte, set func(name, value string)) {
	for _, q := range p.parts {
		segment, rest := cutSegment(path)
		switch {
		case q.kind == one:
			set(q.text, unescape(string(segment)))
		case q.kind == all && q.text != "":
			set(q.text, unescape(string(path[1:])))
		}
		path = rest
	}
}

// part is what stands between two slashes of a pattern.
type part struct {
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

func (p part) equals(segment []byte) bool {
	if bytes.IndexByte(segment, '%') < 0 {
		return string(segment) == p.text // does not allocate
	}
	return unescape(string(segment)) == p.text
}

// cutSegment takes the first segment off a path that begins with a slash.
func cutSegment(path []byte) (segment, rest []byte) {
	path = path[1:]
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// Clean reports whether ServeMux would leave the path alone: no segment is "." or "..",
// and none but the last is empty.
func Clean(path []byte) bool {
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

// parsePattern parses all parts of a pattern.
func parsePattern(pattern string) (parts []part, err error) {
	if !strings.HasPrefix(pattern, "/") || strings.ContainsAny(pattern, " \t") {
		return nil, errors.New("must be a path that begins with a slash, without method and host")
	}
	segments := strings.Split(pattern[1:], "/")
	for i, segment := range segments {
		p, err := parsePart(segment, i == len(segments)-1)
		if err != nil {
			return nil, err
		}
		if p.kind != literal && slices.ContainsFunc(parts, func(q part) bool { return q.kind != literal && q.text == p.text }) {
			return nil, fmt.Errorf("duplicate wildcard name %q", p.text)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func parsePart(segment string, last bool) (part, error) {
	name, braced := strings.CutPrefix(segment, "{")
	name, closed := strings.CutSuffix(name, "}")
	name, multi := strings.CutSuffix(name, "...")
	switch {
	case segment == "" && last:
		return part{kind: all}, nil
	case segment == "" || isDots(segment):
		return part{}, fmt.Errorf("segment %q can never match: such paths are answered with 404", segment)
	case !strings.Contains(segment, "{"):
		return part{kind: literal, text: unescape(segment)}, nil
	case !braced || !closed:
		return part{}, fmt.Errorf("segment %q: a wildcard must be all of its segment", segment)
	case (multi || name == "$") && !last:
		return part{}, fmt.Errorf("%s must stand at the end", segment)
	case name == "$" && !multi:
		return part{kind: literal}, nil
	case !token.IsIdentifier(name) && !token.IsKeyword(name):
		return part{}, fmt.Errorf("wildcard name %q is not a Go identifier", name)
	case multi:
		return part{kind: all, text: name}, nil
	}
	return part{kind: one, text: name}, nil
}

// Compare reports whether some path matches both patterns and, if so, which of them
// also matches paths that the other does not.
func Compare(first, second Pattern) (shared, aWider, bWider bool) {
	a, b := first.parts, second.parts
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
		end := part{} // {$}: nothing, which {name} does not match
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
