package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/loop"
)

// # Groups
//
// A message to a group is handed to the loops that have members, and each loop writes
// to its own:
//
//	Group.Send ─▶ number it ─┬─▶ log of loop 0 ─▶ pass over its members ─▶ one write each
//	                         └─▶ log of loop 1 ─▶ ...
//
// group_log.go has a loop's log, in which joins and leaves stand between the messages;
// group_pass.go the leader's passes over the members; group_conn.go what a connection
// knows of its groups, and how it catches up with the log: in a pass, or before a
// message of its own. Locks are taken in this order: Conn.mu, Group.mu, groupLog.mu.

// Group is a set of connections that get the same messages, each once and all in one
// order. NewGroup makes one, or Init. All other methods may be called from any goroutine, and none
// calls a handler.
//
// A Group costs about 220 bytes, and for each loop with members but the first 110 more; a connection's
// first group takes 64 bytes at most and each further one 32, a connection in no group nothing.
// A Group needs no end: nothing is left of it when nobody holds it and its last member is gone.
//
// What one goroutine does is seen in that order by each connection: a Send to one group,
// a Send to another one, a Conn.Send, a Conn.Close. Between goroutines, the messages of one group have
// one order, in which all members get them; messages of two groups, and a group's and a
// connection's own, have one on each loop only.
type Group struct {
	// What a message needs comes first: of a million groups each cache line is a miss.
	srv  *Server
	ways atomic.Pointer[[]framing] // how messages are framed for members, but as they are; nil: not otherwise

	mu      sync.Mutex // guards what follows up to few; taken inside Conn.mu
	number  uint64     // of the last message
	members int
	parts   []*groupPart  // by loop; nil: no member is there
	few     [4]*groupPart // has parts, of so many loops

	home groupPart // the first part that is made: most groups of a server with many have one member

	options GroupOptions
	id      uint64 // groups are locked in the order of their ids
}

// Sent says what became of a message to a group.
type Sent struct {
	// Number is the message's: 1 for the group's first, and so on, without a gap.
	Number uint64
	// Members is how many members the group had at that place in its order. It says
	// nothing of what they could take.
	Members int
}

// ErrNoRoom: a loop that is to pass the message on has too much to pass on already, or all
// queues together are at their bound (Limits.QueueMemory). Nobody gets the message.
var ErrNoRoom = errors.New("server: no room for another message to groups")

// ErrPolicy: a group's, a member's or a message's QueuePolicy is none.
var ErrPolicy = errors.New("server: no such QueuePolicy")

// ErrKey: a key is longer than 1,024 bytes.
var ErrKey = errors.New("server: a key of more than 1,024 bytes")

const maxKey = 1024

// GroupOptions are a group's, for all its members.
type GroupOptions struct {
	// Policy is what happens when a message does not fit into a member's outbound queue
	// (Server.Queue.Max): CloseWhenFull, DropNewest, or DropOldest, which drops messages
	// of groups that wait there, may be dropped and are not begun, or the new one
	// alone if all of them are not enough. 0 is the connection's own policy, see Server.Queue.Policy. JoinOptions and
	// SendOptions come before it.
	Policy QueuePolicy
	// Gone, if not nil, is called for each member whose connection has ended, behind its last
	// message. A loop calls it: it must not block. A panic is logged as a handler's.
	Gone func(c *Conn)
}

// JoinOptions are a member's.
type JoinOptions struct {
	// Policy comes before the group's; 0 is the group's.
	Policy QueuePolicy
}

// SendOptions are a message's.
type SendOptions struct {
	// Policy comes before the member's and the group's; 0 is theirs.
	Policy QueuePolicy
	// Key, if not "", has the message take the place of one of the same group with the same
	// key that waits in a member's queue and is not begun: only the last one counts, as
	// of a price. KeyOwner, if not nil, is whose key it is in place of the group: one that several
	// groups have in common. It must be comparable. InOrder has the message stand behind all that waits
	// instead, so that the order of the group holds. A key has 1,024 bytes at most.
	Key      string
	KeyOwner any
	InOrder  bool
	// Expires is how long the message may wait in a member's queue, to a tenth of a second;
	// 0, and five years or more, is for ever. Later it is not sent.
	Expires time.Duration
}

// NewGroup makes a group of connections of this server.
func (s *Server) NewGroup(o GroupOptions) *Group {
	g := &Group{}
	g.Init(s, o)
	return g
}

// Init makes a zero Group one of connections of s, as NewGroup does, for who has it in a struct of
// their own. It is called once, before all else.
func (g *Group) Init(s *Server, o GroupOptions) {
	g.srv, g.options, g.id = s, o, s.groupIDs.Add(1)
}

// Join is JoinWith without options.
func (g *Group) Join(c *Conn) (number uint64, err error) { return g.JoinWith(c, JoinOptions{}) }

// JoinWith makes c a member: of the messages from here on, those behind the number that Join
// returns, it gets each, and none up to it. If it is a member already nothing happens,
// and number is that of the group's last message. The end of a connection ends its
// memberships. ErrClosed: it is not open. ErrPolicy: see there. c must be of the group's server.
//
// It may be called in Handler.Open.
func (g *Group) JoinWith(c *Conn, o JoinOptions) (number uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.loop.srv != g.srv:
		return 0, errOtherServer
	case max(o.Policy, g.options.Policy) > DropOldest:
		return 0, ErrPolicy
	}
	if c.catchUp(); c.takesNothing() {
		return 0, ErrClosed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c.join(g, o.Policy)
	return g.number, nil
}

// Leave ends c's membership: of the messages behind the number that it returns, the
// connection gets none, of those before each. ok is false if it was no member.
func (g *Group) Leave(c *Conn) (number uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grouped() == nil || c.loop.srv != g.srv {
		return 0, false
	}
	c.catchUp()
	g.mu.Lock()
	defer g.mu.Unlock()
	ok = c.leave(g)
	return g.number, ok
}

// Has says whether c is a member.
func (g *Group) Has(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.grouped()
	if of == nil || c.loop.srv != g.srv {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	part := g.partOn(&c.loop.groups)
	if part == nil {
		return false
	}
	_, m := of.find(part.id)
	return m != nil && m.state() != leaving
}

// Len is how many members there are.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members
}

// Last is the number of the last message, 0 before the first.
func (g *Group) Last() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.number
}

var errOtherServer = errors.New("server: the connection is another server's")

// Each calls do for every member, one after another and on the caller's goroutine, until
// do returns false. Who joins or leaves meanwhile may be among them or not. do may do anything
// that a handler may; the caller must not hold a lock that handlers take. It returns
// ctx's error when that is done first, as when all workers are held by handlers that
// block. A loop lists its members in one go, a million in some milliseconds.
func (g *Group) Each(ctx context.Context, do func(c *Conn) bool) error {
	g.mu.Lock()
	parts := slices.Clone(g.parts)
	g.mu.Unlock()
	for _, part := range parts {
		if part == nil {
			continue
		}
		listed := make(chan []*Conn, 1)
		list := func() (again bool) {
			listed <- slices.Clone(part.members)
			return false
		}
		if !part.log.loop.PostTask(loop.TaskFunc(list)) {
			continue // the loop has ended
		}
		select {
		case conns := <-listed:
			for _, c := range conns {
				if c.stateNow() == stateOpen && !do(c) {
					return nil
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}
