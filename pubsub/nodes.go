package pubsub

import (
	"cmp"
	"encoding/json"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// # Nodes
//
// Where a broker is a NodeBroker, hubs tell each other that they are there (a beat), who is
// subscribed to their topics with presence, and what they are to do (nodes_control.go). What a node says of
// its members has a revision, which its beats tell too: who has missed something asks for all
// of it, which comes in numbered parts and counts only if it is whole. A node that is silent for 10/3 beats is gone, and so are its members.

// NodeBroker is a Broker that also carries what hubs tell each other. Its receiver is a NodeReceiver.
type NodeBroker interface {
	Broker
	// Node is a name that no other node has.
	Node() string
	// Tell sends something to another node, or, with "", to all others: at most once, and of one node in its order. It
	// must not block for long.
	Tell(node string, data []byte) error
}

// NodeReceiver is a Receiver that hears what other nodes tell. Heard is called for one after the other; data
// is valid until it returns.
type NodeReceiver interface {
	Receiver
	Heard(data []byte)
}

// Node is what is known of a node.
type Node struct {
	ID            string    `json:"id"`
	Host          string    `json:"host"`
	Version       string    `json:"version,omitempty"` // of the program's module
	Started       time.Time `json:"started"`
	Connections   int64     `json:"connections"`
	Subscriptions int64     `json:"subscriptions"`
	Draining      bool      `json:"draining,omitempty"` // it takes no connections, or not yet
	// Ready: it knows the others. Those that are decide what is told of topics; all, if none is.
	Ready bool `json:"ready"`
	// Silent is how long nothing was heard of it; Gone: for so long that it counts as gone.
	Silent time.Duration `json:"silent"`
	Gone   bool          `json:"gone,omitempty"`
}

// nodeMessage is what one node tells others.
type nodeMessage struct {
	From    string         `json:"from"`
	Beat    *Node          `json:"beat,omitempty"`  // it is there
	Hello   bool           `json:"hello,omitempty"` // it wants a beat of all others
	Bye     bool           `json:"bye,omitempty"`
	Changes []memberChange `json:"changes,omitempty"` // up to Revision
	Sync    bool           `json:"sync,omitempty"`    // it wants all members
	All     *memberPart    `json:"all,omitempty"`     // they are
	Event   *presenceEvent `json:"event,omitempty"`
	Order   *nodeOrder     `json:"order,omitempty"`

	Revision uint64 `json:"revision,omitempty"` // of Changes, All and Beat
}

// nodes is what a hub knows of the nodes, itself among them.
type nodes struct {
	hub  *Hub
	bus  NodeBroker
	beat time.Duration
	wake chan struct{}

	mu       sync.Mutex // the innermost of the hub's; guards what follows
	self     *node      // its ID stays, and is read without mu
	others   map[string]*node
	topics   map[string]map[string]*holder // the members of all nodes, by topic and key
	leaving  []leaver                      // from the first to the last to leave
	changes  []memberChange                // of self, that others do not know yet
	events   []presenceEvent               // to be told
	askers   []string                      // nodes that want all members of self
	asking   []string                      // nodes whose members self wants
	greeted  bool                          // somebody wants a beat
	detached bool                          // the last beat did not go out

	sets uint64 // how often all members of self were told; only run uses it
}

// node is one of them.
type node struct {
	Node
	heard    time.Time
	revision uint64
	synced   bool      // members are those of revision
	asked    time.Time // for all members
	members  map[string]map[string]Member
	coming   coming // of all members
}

// silence is how long a node may be silent.
func (n *nodes) silence() time.Duration { return n.beat * 10 / 3 }

func newNodes(h *Hub, bus NodeBroker, beat time.Duration) *nodes {
	host, _ := os.Hostname() // else it has no name
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	return &nodes{
		hub: h, bus: bus, beat: cmp.Or(beat, 3*time.Second), wake: make(chan struct{}, 1),
		self:   &node{Node: Node{ID: bus.Node(), Host: host, Version: version, Started: time.Now()}, synced: true, members: map[string]map[string]Member{}},
		others: map[string]*node{}, topics: map[string]map[string]*holder{},
	}
}

// rouse has run look at what there is to tell.
func (n *nodes) rouse() {
	select {
	case n.wake <- struct{}{}:
	default: // it is awake
	}
}

// run tells others what there is to tell, until the hub ends.
func (n *nodes) run() {
	n.tell("", nodeMessage{Hello: true})
	n.sendBeat()
	tick := time.NewTicker(n.beat / 6)
	defer tick.Stop()
	for turn := 1; ; {
		select {
		case <-n.hub.ending:
			n.tell("", nodeMessage{Bye: true})
			return
		case <-n.wake:
		case <-tick.C:
			n.sweep(time.Now())
			if turn++; turn%6 == 0 || n.turned() {
				n.sendBeat()
			}
		}
		n.flush()
	}
}

// tell sends a message.
func (n *nodes) tell(to string, m nodeMessage) {
	m.From = n.self.ID
	data, err := json.Marshal(m)
	if err == nil {
		err = n.bus.Tell(to, data)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Beat != nil {
		n.detached = err != nil
	}
	if err != nil {
		n.hub.counts.nodesFailed.Add(1)
	}
}

// turned says whether the node has begun, or ceased, to take connections since its last beat.
func (n *nodes) turned() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self.Draining == n.hub.srv.Ready()
}

// sendBeat says that this node is there.
func (n *nodes) sendBeat() {
	n.flush() // the revision is of what was told
	stats := n.hub.srv.Stats()
	n.mu.Lock()
	n.self.Ready, n.self.Draining = n.knowsOthers(), !n.hub.srv.Ready()
	n.self.Connections, n.self.Subscriptions = stats.Open, n.hub.counts.subscriptions.Load()
	beat := n.self.Node
	revision := n.self.revision - uint64(len(n.changes)) // but for those that came just now
	n.mu.Unlock()
	n.tell("", nodeMessage{Beat: &beat, Revision: revision})
}

// knowsOthers says whether this node does. The caller holds mu.
func (n *nodes) knowsOthers() bool {
	if time.Since(n.self.Started) < 2*n.beat {
		return false
	}
	for _, o := range n.others {
		if !o.Gone && !o.synced {
			return false
		}
	}
	return true
}

// flush tells what has changed.
func (n *nodes) flush() {
	n.mu.Lock()
	changes, events, askers, asking, greeted := n.changes, n.events, n.askers, n.asking, n.greeted
	n.changes, n.events, n.askers, n.asking, n.greeted = nil, nil, nil, nil, false
	revision := n.self.revision - uint64(len(changes))
	var all []memberChange
	if len(askers) > 0 {
		all = n.self.all()
	}
	n.mu.Unlock()
	for part := range slices.Chunk(changes, memberChunk) {
		revision += uint64(len(part))
		n.tell("", nodeMessage{Changes: part, Revision: revision})
	}
	for _, asker := range askers {
		n.tellAll(asker, all, revision)
	}
	for _, other := range asking {
		n.tell(other, nodeMessage{Sync: true})
	}
	for _, e := range events {
		n.tell("", nodeMessage{Event: &e})
		n.hub.tellPresence(e)
	}
	if greeted {
		n.sendBeat()
	}
}

// Heard implements NodeReceiver.
func (r *receiver) Heard(data []byte) {
	n := (*Hub)(r).nodes
	var m nodeMessage
	if err := json.Unmarshal(data, &m); err != nil || m.From == "" || m.From == n.self.ID {
		n.hub.counts.nodesFailed.Add(1)
		return
	}
	switch {
	case m.Event != nil:
		n.hub.tellPresence(*m.Event)
	case m.Order != nil:
		n.hub.obey(*m.Order)
	default:
		n.heard(&m)
		n.rouse()
	}
}

// heard notes what another node tells of itself.
func (n *nodes) heard(m *nodeMessage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.others[m.From]
	switch {
	case m.Bye:
		if o != nil {
			n.forget(o)
			delete(n.others, m.From)
		}
		return
	case o == nil:
		o = &node{Node: Node{ID: m.From}, members: map[string]map[string]Member{}}
		n.others[o.ID] = o
	}
	o.heard, o.Gone = time.Now(), false
	n.greeted = n.greeted || m.Hello
	switch {
	case m.Beat != nil:
		o.Node = *m.Beat
		o.ID = m.From
		o.synced = o.synced && o.revision == m.Revision
	case m.Sync:
		n.askers = append(n.askers, o.ID)
	case m.All != nil:
		n.takeAll(o, m.All, m.Revision)
	case o.synced && m.Revision == o.revision+uint64(len(m.Changes)):
		for _, c := range m.Changes {
			n.apply(o, c)
		}
		o.revision = m.Revision
	case len(m.Changes) > 0 && m.Revision > o.revision:
		o.synced = false
	}
	if !o.synced && !m.Hello && time.Since(o.asked) > n.beat/2 {
		o.asked = time.Now()
		n.asking = append(n.asking, o.ID)
	}
}

// sweep has silent nodes be gone, and members that have been away for long enough.
func (n *nodes) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, o := range n.others {
		switch silent := now.Sub(o.heard); {
		case silent > 20*n.beat:
			n.forget(o) // if nobody has looked since it fell silent
			delete(n.others, id)
		case silent > n.silence() && !o.Gone:
			o.Gone, o.Ready = true, false
			n.forget(o)
		}
	}
	for ; len(n.leaving) > 0 && now.Sub(n.leaving[0].at) >= n.beat; n.leaving = n.leaving[1:] {
		n.leave(n.leaving[0])
	}
}

// Nodes gives what is known of the nodes, this one first; with a broker that knows no nodes it is nil. It
// also gives those that are gone, for a minute.
func (h *Hub) Nodes() (all []Node) {
	if h.nodes == nil {
		return nil
	}
	n := h.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.others {
		known := o.Node
		known.Silent = time.Since(o.heard)
		all = append(all, known)
	}
	slices.SortFunc(all, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return append([]Node{n.self.Node}, all...)
}

// Partial says that Members may lack some, for this node is cut off from others: it can't tell them
// anything, or one has fallen silent without a word, in the last minute, or has not said yet whom it has.
func (h *Hub) Partial() bool {
	if h.nodes == nil {
		return false
	}
	n := h.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.others {
		if !o.synced || o.Gone || time.Since(o.heard) > 2*n.beat {
			return true
		}
	}
	return n.detached
}
