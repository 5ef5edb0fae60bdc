// Package filters finds the filters that meet a topic's name among very many.
//
//	var tree filters.Tree[int]
//	tree.Add("rooms/+/chat", 1)
//	tree.Add("rooms/#", 2)
//	met := tree.Match("rooms/7/chat", nil) // 1 and 2, in any order
//
// Names and filters are those of the package pubsub, and valid. The work of a search depends on the name's levels and
// on the filters that begin as the name does, not on how many others there are.
package filters

import (
	"slices"
	"strings"
)

// Tree has filters, and a value for each: a trie by levels. The zero value is empty. The caller locks it.
type Tree[T any] struct {
	root  node[T]
	count int
}

// node is where filters go on, and what belongs to the one that ends here.
type node[T any] struct {
	next  map[string]*node[T] // by level, + and # among them
	ends  bool
	value T
}

// Len is how many filters there are.
func (t *Tree[T]) Len() int { return t.count }

// Add puts in a filter that is not in.
func (t *Tree[T]) Add(filter string, value T) {
	n := &t.root
	for level := range strings.SplitSeq(filter, "/") {
		below := n.next[level]
		if below == nil {
			below = &node[T]{}
			if n.next == nil {
				n.next = map[string]*node[T]{}
			}
			n.next[level] = below
		}
		n = below
	}
	n.ends, n.value = true, value
	t.count++
}

// Remove takes out a filter that is in.
func (t *Tree[T]) Remove(filter string) {
	t.count--
	t.root.remove(filter)
}

// remove says whether nothing is left of the node.
func (n *node[T]) remove(filter string) (empty bool) {
	level, rest, more := strings.Cut(filter, "/")
	below := n.next[level]
	if more {
		if below.remove(rest) {
			delete(n.next, level)
		}
	} else {
		var none T
		below.ends, below.value = false, none
		if len(below.next) == 0 {
			delete(n.next, level)
		}
	}
	return len(n.next) == 0 && !n.ends
}

// Match appends the values of the filters that meet a name.
func (t *Tree[T]) Match(name string, to []T) []T {
	if t.count == 0 {
		return to
	}
	level, _, _ := strings.Cut(name, "/")
	return t.root.match(name, true, !strings.HasPrefix(level, "$"), to)
}

// match goes on with the levels of name, if there are more. wild: wildcards may stand here.
func (n *node[T]) match(name string, more, wild bool, to []T) []T {
	if many := n.next["#"]; many != nil && wild && many.ends {
		to = append(to, many.value)
	}
	if !more {
		if n.ends {
			to = append(to, n.value)
		}
		return to
	}
	level, rest, more := strings.Cut(name, "/")
	if below := n.next[level]; below != nil && level != "+" && level != "#" {
		to = below.match(rest, more, true, to)
	}
	if any := n.next["+"]; any != nil && wild {
		to = any.match(rest, more, true, to)
	}
	return to
}

// Overlap says whether a topic may be met by two filters, or names.
func Overlap(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y)) {
		switch {
		case x[i] == "#" || y[i] == "#":
			return true
		case x[i] != "+" && y[i] != "+" && x[i] != y[i]:
			return false
		}
	}
	if len(x) > len(y) {
		x, y = y, x
	}
	return len(x) == len(y) || len(y) == len(x)+1 && slices.Index(y, "#") == len(x)
}
