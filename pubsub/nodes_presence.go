package pubsub

import (
	"hash/fnv"
	"slices"
	"time"
)

// # Presence over nodes
//
// Each node knows the members of all. A user with several connections, on whatever nodes, is one member of
// what is told: his first one is the join, and when he has had none for a beat, so that to load a page again
// makes no noise, this is the leave. All nodes see that alike; the home node of the topic, which they
// choose alike, tells it. When a node comes or goes something may be told twice, or not at all.

// memberChunk is how many changes go into one message.
const memberChunk = 200

// memberChange is a member that comes, or goes.
type memberChange struct {
	Topic  string `json:"topic"`
	Member Member `json:"member"`
	Gone   bool   `json:"gone,omitempty"`
}

// memberPart is a part of all members of a node.
type memberPart struct {
	Members []memberChange `json:"members"`
	Set     uint64         `json:"set"`  // a number of the node's for this time that it tells all of them
	Part    int            `json:"part"` // from 1
	Of      int            `json:"of"`   // so many parts
}

// coming is what has come of all members of a node: the first parts of a set, without a gap.
type coming struct {
	set, revision uint64
	parts, of     int
	members       []memberChange
}

// take notes a part, if it is the next one. If not, one was lost, and those that came before are of no use.
func (c *coming) take(part *memberPart, revision uint64) (next bool) {
	if part.Part == 1 {
		*c = coming{set: part.Set, revision: revision, of: part.Of}
	}
	if part.Part != c.parts+1 || part.Part > c.of || part.Of != c.of || part.Set != c.set || revision != c.revision {
		*c = coming{}
		return false
	}
	c.parts, c.members = part.Part, append(c.members, part.Members...)
	return true
}

// holder is a user, or a connection of nobody.
type holder struct {
	member Member    // one of his
	count  int       // of his connections
	left   time.Time // the last one, if there is none
}

// leaver is a holder without a connection since a moment.
type leaver struct {
	topic, key string
	at         time.Time
}

func (m *Member) key() string {
	if m.User != "" {
		return "u" + m.User
	}
	return "c" + m.ID.String()
}

// change notes a member of this node that comes or goes.
func (n *nodes) change(topic string, m Member, gone bool) {
	c := memberChange{topic, m, gone}
	n.mu.Lock()
	n.self.revision++
	n.changes = append(n.changes, c)
	n.apply(n.self, c)
	n.mu.Unlock()
	n.rouse()
}

// apply notes a change of a node. The caller holds mu.
func (n *nodes) apply(o *node, c memberChange) {
	id := c.Member.ID.String()
	members := o.members[c.Topic]
	if known, ok := members[id]; ok { // it goes, or comes with something else to tell
		delete(members, id)
		if len(members) == 0 {
			delete(o.members, c.Topic)
		}
		n.remove(c.Topic, known)
	}
	if c.Gone {
		return
	}
	if members = o.members[c.Topic]; members == nil {
		members = map[string]Member{}
		o.members[c.Topic] = members
	}
	members[id] = c.Member
	n.add(c.Topic, c.Member)
}

// add notes a connection of a member. The caller holds mu.
func (n *nodes) add(topic string, m Member) {
	holders := n.topics[topic]
	if holders == nil {
		holders = map[string]*holder{}
		n.topics[topic] = holders
		n.happened("occupied", topic, Member{})
	}
	key := m.key()
	if h := holders[key]; h != nil {
		h.count++
		return
	}
	holders[key] = &holder{member: m, count: 1}
	n.happened("join", topic, m)
}

// remove notes that one has gone. The caller holds mu.
func (n *nodes) remove(topic string, m Member) {
	key := m.key()
	h := n.topics[topic][key]
	if h.count--; h.count == 0 {
		h.member, h.left = m, time.Now()
		n.leaving = append(n.leaving, leaver{topic, key, h.left})
	}
}

// leave is for a holder who has lingered, unless he has come back. The caller holds mu.
func (n *nodes) leave(l leaver) {
	holders := n.topics[l.topic]
	h := holders[l.key]
	if h == nil || h.count > 0 || !h.left.Equal(l.at) {
		return
	}
	n.happened("leave", l.topic, h.member)
	if delete(holders, l.key); len(holders) == 0 {
		delete(n.topics, l.topic)
		n.happened("vacated", l.topic, Member{})
	}
}

// happened has an event be told, if this node is the topic's home. The caller holds mu.
func (n *nodes) happened(event, topic string, m Member) {
	if n.home(topic) == n.self.ID {
		n.events = append(n.events, presenceEvent{event, topic, m})
	}
}

// home is the node that tells what happens to a topic: of those that are ready the one with the highest
// hash. The caller holds mu.
func (n *nodes) home(topic string) (home string) {
	var highest uint64
	consider := func(o *node) {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(o.ID + "\x00" + topic)) // never fails
		sum := hash.Sum64()
		sum ^= sum >> 29 // names that differ at their ends only are far apart
		sum *= 0xbf58476d1ce4e5b9
		if sum ^= sum >> 32; home == "" || sum > highest {
			home, highest = o.ID, sum
		}
	}
	ready := n.self.Ready // as the others know it
	for _, o := range n.others {
		ready = ready || o.Ready
	}
	for _, o := range n.others {
		if o.Ready == ready && !o.Gone {
			consider(o)
		}
	}
	if n.self.Ready == ready {
		consider(n.self)
	}
	return home
}

// forget has all members of a node go. The caller holds mu.
func (n *nodes) forget(o *node) {
	for topic, members := range o.members {
		for _, m := range members {
			n.remove(topic, m)
		}
	}
	o.members, o.synced, o.coming = map[string]map[string]Member{}, false, coming{}
}

// all gives a node's members. The caller holds mu.
func (o *node) all() (all []memberChange) {
	for topic, members := range o.members {
		for _, m := range members {
			all = append(all, memberChange{Topic: topic, Member: m})
		}
	}
	return all
}

// tellAll tells another node all members of this one. Only run calls it.
func (n *nodes) tellAll(to string, all []memberChange, revision uint64) {
	n.sets++
	of := max((len(all)+memberChunk-1)/memberChunk, 1)
	for i := range of {
		members := all[i*memberChunk : min((i+1)*memberChunk, len(all))]
		n.tell(to, nodeMessage{All: &memberPart{members, n.sets, i + 1, of}, Revision: revision})
	}
}

// takeAll notes a part of all members of another node. Those of a whole set are from then on those that there are. What is not whole
// changes nothing: without a gap the rest is awaited, else all is asked for anew. The caller holds mu.
func (n *nodes) takeAll(o *node, part *memberPart, revision uint64) {
	if !o.coming.take(part, revision) {
		return
	}
	if o.coming.parts < o.coming.of {
		o.asked = time.Now() // the answer is on its way
		return
	}
	there := map[string]map[string]bool{}
	for _, c := range o.coming.members {
		if there[c.Topic] == nil {
			there[c.Topic] = map[string]bool{}
		}
		there[c.Topic][c.Member.ID.String()] = true
		if known, ok := o.members[c.Topic][c.Member.ID.String()]; !ok || known.User != c.Member.User || !slices.Equal(known.Info, c.Member.Info) {
			n.apply(o, c)
		}
	}
	for _, c := range o.all() {
		if !there[c.Topic][c.Member.ID.String()] {
			c.Gone = true
			n.apply(o, c)
		}
	}
	o.coming, o.revision, o.synced = coming{}, revision, true
}
