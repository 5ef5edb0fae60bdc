// Package route matches paths with patterns like net/http.ServeMux's: literal segments,
// {name} for any one, {name...} or a final slash for all that follows, {$} for nothing.
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

// Pattern is a pattern that was parsed. It is only read.
type Pattern struct{ parts []part }

// Parse takes a pattern apart; the error says what is wrong with it.
func Parse(pattern string) (Pattern, error) {
	parts, err := parsePattern(pattern)
	return Pattern{parts}, err
}

// Match says whether a path, as a request has it, is one of the pattern's. It does not
// allocate but for escapes.
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

// Values calls set with what each wildcard stands for in a path that matches,
// percent-decoded.
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

// Clean reports whether the path has no segment that is ".", ".." or, but for the
// last, empty: none that ServeMux would clean away.
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

// parsePattern takes a pattern of Mux apart; the error says what is wrong with it.
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

// Compare tells whether there is a path that both patterns match, and if so,
// which of them matches paths that the other does not.
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
