package server

import (
	"errors"
	"fmt"
	"go/token"
	"slices"
	"strings"
)

// segment is the part of a pattern between two slashes.
type segment struct {
	kind segmentKind
	text string // the literal, unescaped, or the wildcard's name
}

// segmentKind is ordered: a wider kind has the greater value.
type segmentKind uint8

const (
	literal segmentKind = iota // "" stands for {$}
	one                        // {name}
	all                        // {name...}, or a final slash, whose name is ""
)

// parsePattern splits a pattern of Mux; the error says what is wrong with it.
func parsePattern(pattern string) (segments []segment, err error) {
	if !strings.HasPrefix(pattern, "/") || strings.ContainsAny(pattern, " \t") {
		return nil, errors.New("must be a path that begins with a slash, without method and host")
	}
	parts := strings.Split(pattern[1:], "/")
	for i, part := range parts {
		s, err := parseSegment(part, i == len(parts)-1)
		if err != nil {
			return nil, err
		}
		if s.kind != literal && s.text != "" && slices.ContainsFunc(segments, s.sameName) {
			return nil, fmt.Errorf("duplicate wildcard name %q", s.text)
		}
		segments = append(segments, s)
	}
	return segments, nil
}

func (s segment) sameName(other segment) bool { return other.kind != literal && other.text == s.text }

func parseSegment(part string, last bool) (segment, error) {
	switch {
	case part == "" && last:
		return segment{kind: all}, nil
	case part == "" || part == "." || part == "..":
		return segment{}, fmt.Errorf("segment %q can never match: such paths are not routed", part)
	case !strings.Contains(part, "{"):
		return segment{kind: literal, text: unescape(part)}, nil
	case part[0] != '{' || part[len(part)-1] != '}':
		return segment{}, fmt.Errorf("segment %q: a wildcard must be all of its segment", part)
	}
	return parseWildcard(part[1:len(part)-1], last)
}

func parseWildcard(name string, last bool) (segment, error) {
	if name == "$" && last {
		return segment{kind: literal}, nil
	}
	name, multi := strings.CutSuffix(name, "...")
	switch {
	case (multi || name == "$") && !last:
		return segment{}, errors.New("{$} and {name...} must stand at the end")
	case !token.IsIdentifier(name) && !token.IsKeyword(name):
		return segment{}, fmt.Errorf("wildcard name %q is not a Go identifier", name)
	case multi:
		return segment{kind: all, text: name}, nil
	}
	return segment{kind: one, text: name}, nil
}

// conflict reports whether there is a path that both patterns match while
// neither is more specific.
func conflict(a, b []segment) bool {
	aWider, bWider := false, false
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		switch {
		case x.kind == y.kind && (x.kind != literal || x.text == y.text): // the same paths
		case x.kind == literal && y.kind == literal,
			x.kind != all && y.kind != all && (x == segment{} || y == segment{}): // {name} is not empty, {$} is
			return false
		case x.kind > y.kind:
			aWider = true
		default:
			bWider = true
		}
	}
	switch {
	case len(a) < len(b):
		aWider = true
		return a[len(a)-1].kind == all && aWider == bWider
	case len(b) < len(a):
		bWider = true
		return b[len(b)-1].kind == all && aWider == bWider
	}
	return aWider == bWider
}
