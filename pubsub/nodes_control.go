package pubsub

import (
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// nodeOrder is what a node has others do.
type nodeOrder struct {
	User   string  `json:"user"`
	Name   string  `json:"name,omitempty"` // to unsubscribe from; "": close
	Code   ws.Code `json:"code,omitempty"`
	Reason string  `json:"reason,omitempty"`
}

// CloseUser closes all connections of a user (SetUser), on all nodes, and gives how many were here. Other
// nodes are told, which a node that is cut off does not hear.
func (h *Hub) CloseUser(user string, code ws.Code, reason string) (here int) {
	return h.order(nodeOrder{User: user, Code: code, Reason: reason})
}

// UnsubscribeUser ends the subscriptions of a user's connections to a topic, or a filter, as CloseUser closes them.
func (h *Hub) UnsubscribeUser(user, name string) (here int) {
	if name == "" {
		return 0
	}
	return h.order(nodeOrder{User: user, Name: name})
}

func (h *Hub) order(o nodeOrder) (here int) {
	if o.User == "" {
		return 0 // nobody: other nodes need not hear it
	}
	if h.nodes != nil {
		h.nodes.tell("", nodeMessage{Order: &o})
	}
	return h.obey(o)
}

// obey does what is ordered, here.
func (h *Hub) obey(o nodeOrder) (done int) {
	if o.User == "" {
		return 0 // connections of nobody are not one user's
	}
	for i := range h.clients {
		shard := &h.clients[i]
		var his []*server.Conn
		shard.mu.Lock()
		for c, cl := range shard.clients {
			if cl.user == o.User {
				his = append(his, c)
			}
		}
		shard.mu.Unlock()
		for _, c := range his {
			switch {
			case o.Name == "":
				c.Close(o.Code, o.Reason)
				done++
			case h.Unsubscribe(c, o.Name):
				done++
			}
		}
	}
	return done
}
