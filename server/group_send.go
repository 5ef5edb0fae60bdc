package server

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/ws"
)

// Send is SendWith without options.
func (g *Group) Send(p *ws.Prepared) (Sent, error) { return g.SendWith(p, SendOptions{}) }

// SendWith sends a message to all members. It returns before they have it: their loops write
// it soon, all that is pending for a connection in one go. A member that can not take it
// at once has it in its outbound queue, where it is kept once for all; it counts for the
// bounds of each (Server.Queue). What may be dropped there, because of the policy, a key or a time,
// does not count for Queue.HighWater: it stops no reading, and it gives way to what may not be
// dropped, the connection's own messages among them. ServerStats.Group counts what
// was dropped. With context takeover (Deflate.ServerTakeover) such messages go out uncompressed.
//
// ErrOpcode: it is neither text nor binary. ErrPolicy, ErrKey, ErrNoRoom: see there. Then the message has no
// number, and nobody gets it. With Server.Runtime.Debug, a text that is not valid UTF-8 is
// refused like that too.
func (g *Group) SendWith(p *ws.Prepared, o SendOptions) (Sent, error) {
	if err := g.srv.checkGroupMessage(p, o); err != nil {
		return Sent{}, err
	}
	g.prepare(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.srv.push(p, o, g)
}

// SendToGroups is SendWith for several groups: the message goes to all who are a member of
// any of them, once to each, or with an error to nobody. Each group's number grows, and
// Sent.Number is 0. Sent.Members counts who is in two groups twice. A key without
// KeyOwner is one of the group that was made first.
func (s *Server) SendToGroups(p *ws.Prepared, o SendOptions, groups ...*Group) (Sent, error) {
	if len(groups) == 1 && groups[0].srv == s {
		sent, err := groups[0].SendWith(p, o)
		sent.Number = 0
		return sent, err
	}
	if err := s.checkGroupMessage(p, o); err != nil {
		return Sent{}, err
	}
	sorted := slices.Clone(groups)
	slices.SortFunc(sorted, func(a, b *Group) int { return cmp.Compare(a.id, b.id) })
	sorted = slices.Compact(sorted)
	for _, g := range sorted {
		if g.srv != s {
			return Sent{}, errOtherServer
		}
		g.prepare(p)
	}
	for _, g := range sorted {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	sent, err := s.push(p, o, sorted...)
	sent.Number = 0
	return sent, err
}

// SendTo sends a message to one connection as if it were the group's: by its policy, and with the keys
// of its messages. It is for what a newcomer gets of the past, before Join; the message has no number. Like
// Conn.Send it comes in the order in which one goroutine sends.
//
// ErrOpcode, ErrPolicy, ErrKey: see SendWith. ErrClosed: c is not open, or was closed because the message
// did not fit. A message that was dropped, which is counted and told as others are, is no error.
func (g *Group) SendTo(c *Conn, p *ws.Prepared, o SendOptions) error {
	if err := g.srv.checkGroupMessage(p, o); err != nil {
		return err
	}
	if c.loop.srv != g.srv {
		return errOtherServer
	}
	way, z := c.framing(), c.deflationNow()
	if z != nil && z.keeps {
		z = nil // what may be dropped would spoil the context
	} else if z != nil {
		way.deflate, way.z = true, z.sender
	}
	frame := way.frame(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.catchUp(); {
	case c.takesNothing():
		return ErrClosed
	case frame == nil:
		if way.events {
			c.loop.counters.events.notText.Add(1)
		}
		return nil
	}
	m := newGroupMessage(g, p, o, 1)
	defer m.release()
	one := pending{message: m, policy: cmp.Or(o.Policy, g.options.Policy)}
	taken := c.sendShared(one, frame)
	if c.takesNothing() {
		return ErrClosed
	}
	if z != nil && taken {
		way.noteDeflated(c, z, one, frame)
	}
	return nil
}

// push puts a message onto the logs of all loops with members of the groups, whose locks the
// caller holds, or on none.
func (s *Server) push(p *ws.Prepared, o SendOptions, groups ...*Group) (sent Sent, err error) {
	holds := 0
	for _, g := range groups {
		for _, part := range g.parts {
			if part == nil || part.expected == 0 {
				continue
			}
			holds++
			if !part.log.hasRoom() {
				return Sent{}, s.noRoom()
			}
		}
	}
	if holds > 0 && s.governor.outbound.full() {
		return Sent{}, s.noRoom()
	}
	s.groupSent.Add(1)
	for _, g := range groups {
		g.number++
		sent.Number = g.number
		sent.Members += g.members
	}
	if holds > 0 {
		m := newGroupMessage(groups[0], p, o, holds)
		for i := range s.loops {
			s.loops[i].groups.pushMessage(m, groups)
		}
	}
	return sent, nil
}

// checkGroupMessage says why a message may not be sent to groups.
func (s *Server) checkGroupMessage(p *ws.Prepared, o SendOptions) error {
	if op := p.Opcode(); op != ws.Text && op != ws.Binary {
		return ErrOpcode
	}
	switch {
	case o.Policy > DropOldest:
		return ErrPolicy
	case len(o.Key) > maxKey:
		return ErrKey
	}
	return s.checkText(p.Opcode(), p.Payload())
}

// noRoom counts and gives ErrNoRoom.
func (s *Server) noRoom() error {
	s.groupRefused.Add(1)
	return ErrNoRoom
}
