package server

import (
	"slices"

	"github.com/millrace/millrace/ws"
)

// # Forms
//
// A message is made into each form that members get, once (ws.Prepared keeps them): compressed,
// as an event, in its envelope. A group knows which forms its members have had. Who sends
// makes them, before it takes a lock; the loops only the first time.

// framing is how messages are framed for a connection; the zero value: uncompressed.
type framing struct {
	events    bool // as events of an event stream
	enveloped bool
	deflate   bool
	keeps     bool // a context, which what is dropped would spoil
	drops     bool // what does not fit, by the connection's own policy
	z         ws.Deflater
}

// framing is c's but for the compression.
func (c *Conn) framing() framing {
	state := c.state.Load()
	return framing{events: state&eventStream != 0, enveloped: state&enveloped != 0}
}

// form is what a message is for a connection with this framing.
func (way *framing) form(p *ws.Prepared) *ws.Prepared {
	if way.enveloped {
		return p.Enveloped()
	}
	return p
}

// frame is a message framed, nil if it has no such form: binary, for an event stream, or one that is not plain.
func (way *framing) frame(p *ws.Prepared) []byte {
	switch p = way.form(p); {
	case way.events:
		return p.Event()
	case !way.enveloped && !p.Plain():
		return nil
	case way.deflate:
		frame, _ := p.Deflated(way.z)
		return frame
	}
	return p.Frame()
}

// formFor is the frame of a message for c, nil if there is no such form. The caller holds c's mu.
func (d *delivery) formFor(c *Conn, p pending) []byte {
	way, g := d.way, p.message.group
	if way.keeps && c.mayDrop(p) {
		way.deflate = false
	}
	if g != d.noted || way.keeps { // else it is the same again
		g.noteWay(way)
		d.noted = g
	}
	return way.frame(p.message.prepared)
}

// prepare makes the forms of a message that members get, so that their loops need not.
func (g *Group) prepare(p *ws.Prepared) {
	ways := g.ways.Load()
	if ways == nil {
		return
	}
	for _, way := range *ways {
		way.frame(p)
	}
}

// noteWay notes how messages are framed for a member.
func (g *Group) noteWay(way framing) {
	way.keeps, way.drops = false, false
	if ways := g.ways.Load(); ways == nil || !slices.Contains(*ways, way) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.addWay(way)
	}
}

// commonWays are the ways of most groups, which are there once for all.
var commonWays = [...][]framing{{{enveloped: true}}, {{events: true}}, {{events: true, enveloped: true}}}

// addWay is noteWay where the caller holds mu.
func (g *Group) addWay(way framing) {
	before := g.ways.Load()
	switch {
	case way == framing{}:
	case before != nil:
		if !slices.Contains(*before, way) {
			ways := append(slices.Clip(*before), way) // others read what was there
			g.ways.Store(&ways)
		}
	default:
		for i := range commonWays {
			if commonWays[i][0] == way {
				g.ways.Store(&commonWays[i])
				return
			}
		}
		g.ways.Store(&[]framing{way})
	}
}

// SendPrepared is Send of a message that was framed once for many connections. As a message of a
// group it comes in its envelope where Accept.Enveloped is set, and not at all where it
// is not for such a connection (ws.PrepareOptions.NotPlain).
func (c *Conn) SendPrepared(p *ws.Prepared) error {
	switch {
	case c.is(enveloped):
		p = p.Enveloped()
	case !p.Plain() && !c.is(eventStream):
		return nil
	}
	if op := p.Opcode(); op != ws.Text && op != ws.Binary {
		return ErrOpcode
	}
	if err := c.loop.srv.checkText(p.Opcode(), p.Payload()); err != nil {
		return err
	}
	if c.is(eventStream) {
		return c.sendPreparedEvent(p)
	}
	if d := c.deflationNow(); d != nil {
		return c.sendPreparedDeflated(d, p)
	}
	return c.lockAndSend(p.Opcode(), nil, p.Frame())
}
