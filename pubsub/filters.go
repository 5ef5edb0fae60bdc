package pubsub

import "strings"

// filters finds the filters that meet a name: a trie by levels, of filters only. The
// caller locks it.
type filters struct {
	root  filterNode
	count int
}

// filterNode is where filters go on, and the one that ends here.
type filterNode struct {
	next map[string]*filterNode // by level, + and # among them
	ends *topic                 // nil: none
}

// add puts in a filter.
func (f *filters) add(filter string, t *topic) {
	n := &f.root
	for level := range strings.SplitSeq(filter, "/") {
		below := n.next[level]
		if below == nil {
			below = &filterNode{}
			if n.next == nil {
				n.next = map[string]*filterNode{}
			}
			n.next[level] = below
		}
		n = below
	}
	n.ends = t
	f.count++
}

// remove takes out a filter that is in.
func (f *filters) remove(filter string) {
	f.count--
	removeFrom(&f.root, filter)
}

// removeFrom says whether nothing is left of the node.
func removeFrom(n *filterNode, filter string) (empty bool) {
	level, rest, more := strings.Cut(filter, "/")
	below := n.next[level]
	if more {
		if removeFrom(below, rest) {
			delete(n.next, level)
		}
	} else if below.ends = nil; len(below.next) == 0 {
		delete(n.next, level)
	}
	return len(n.next) == 0 && n.ends == nil
}

// match appends the filters that meet a name.
func (f *filters) match(name string, to []*topic) []*topic {
	if f.count == 0 {
		return to
	}
	level, _, _ := strings.Cut(name, "/")
	return f.root.match(name, true, !strings.HasPrefix(level, "$"), to)
}

// match goes on with the levels of name, if there are more. wild: wildcards may stand here.
func (n *filterNode) match(name string, more, wild bool, to []*topic) []*topic {
	if many := n.next["#"]; many != nil && wild && many.ends != nil {
		to = append(to, many.ends)
	}
	if !more {
		if n.ends != nil {
			to = append(to, n.ends)
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
