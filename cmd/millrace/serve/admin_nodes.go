package serve

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server/debug"
	"github.com/millrace/millrace/ws"
)

// nodesReport is what /debug/nodes shows.
type nodesReport struct {
	Connections   int64       `json:"connections"` // of all nodes that are there
	Subscriptions int64       `json:"subscriptions"`
	Partial       bool        `json:"partial"` // some may be missing
	NATS          *natsReport `json:"nats,omitempty"`
	Nodes         []nodeRow   `json:"nodes"` // this one first
}

// natsReport is how a node is connected.
type natsReport struct {
	Connected     bool   `json:"connected"`
	Server        string `json:"server,omitempty"`
	Error         string `json:"error,omitempty"`
	StreamFound   *bool  `json:"stream_found,omitempty"` // since it began; nil: it has no stream
	StreamError   string `json:"stream_error,omitempty"`
	Subscriptions int    `json:"subscriptions"`
	Lost          uint64 `json:"connections_lost"`
	Gaps          uint64 `json:"gaps"`
	Dropped       uint64 `json:"messages_dropped"`
}

// nodeRow is a node.
type nodeRow struct {
	pubsub.Node
	Hidden *struct{} `json:"silent,omitempty"` // Node has it in nanoseconds
	Silent float64   `json:"silent_seconds"`
}

// showNodes answers with the nodes.
func (t *topics) showNodes(w http.ResponseWriter, _ *http.Request) {
	report := nodesReport{Partial: t.hub.Partial(), Nodes: []nodeRow{}}
	for _, n := range t.hub.Nodes() {
		report.Nodes = append(report.Nodes, nodeRow{Node: n, Silent: n.Silent.Seconds()})
		if !n.Gone {
			report.Connections += n.Connections
			report.Subscriptions += n.Subscriptions
		}
	}
	if t.broker != nil {
		report.NATS = natsReportOf(t.broker.Stats())
	}
	answerJSON(w, report)
}

func natsReportOf(s nats.Stats) *natsReport {
	r := &natsReport{
		Connected: s.Connected, Server: s.Server, Error: s.Error, StreamError: s.StreamError, Subscriptions: s.Subscriptions, Lost: s.Lost, Gaps: s.Gaps, Dropped: s.Dropped,
	}
	if s.Stream != "" {
		r.StreamFound = &s.StreamFound
	}
	return r
}

const maxUserForm = 4 << 10

// orderUser closes a user's connections on all nodes, or ends their subscriptions to a topic or a filter.
func (t *topics) orderUser(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST only: this page closes a user's connections or subscriptions, see \"Nodes and users\" in docs/cluster.md", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxUserForm)
	err := r.ParseForm()
	user, name, code := r.PostForm.Get("user"), r.PostForm.Get("unsubscribe"), uint64(ws.CodePolicy)
	if text := r.PostForm.Get("code"); text != "" && err == nil {
		code, err = strconv.ParseUint(text, 10, 16)
	}
	switch {
	case r.Header.Get(debug.ActionHeader) == "" || http.NewCrossOriginProtection().Check(r) != nil:
		http.Error(w, "this needs the header "+debug.ActionHeader, http.StatusForbidden)
	case err != nil || user == "" || !ws.Code(code).Sendable():
		http.Error(w, "want a form of at most 4 KiB with user, and unsubscribe, or a close code such as 1008 or 4000 and a reason", http.StatusBadRequest)
	case name != "" && pubsub.CheckFilter(name) != nil:
		http.Error(w, "unsubscribe: want a topic or a filter", http.StatusBadRequest)
	case name != "":
		answerJSON(w, orderReport{t.hub.UnsubscribeUser(user, name), t.hub.Partial()})
	default:
		answerJSON(w, orderReport{t.hub.CloseUser(user, ws.Code(code), r.PostForm.Get("reason")), t.hub.Partial()})
	}
}

// orderReport is what came of an order.
type orderReport struct {
	Here    int  `json:"here"`    // connections of this node that it was for; others have been told
	Partial bool `json:"partial"` // some nodes may not have heard it
}

func answerJSON(w http.ResponseWriter, v any) {
	text, _ := json.Marshal(v) // our own structs
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(append(text, '\n')) // the peer is gone if it fails
}
