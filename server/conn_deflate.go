package server

import (
	"cmp"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/ws"
)

// Deflate compresses messages, with clients that offer permessage-deflate (RFC
// 7692). Its zero value compresses in both directions, each message by itself.
//
// What compresses (0.8 to 1.4 MB) and inflates (36 KiB) is pooled and borrowed for
// one message; an idle connection costs nothing more than without compression.
// With context takeover, which makes short messages smaller that are like those
// before, a connection keeps its windows: what was last sent and received, up to
// the sizes below, and takes 10 us to index 8 KiB of it for each message it sends.
//
// Without takeover two kinds of clients are not served: those that fail if the answer has
// a no_context_takeover that they have not asked for (Netty's), and those that keep their
// context whatever it says (of iOS 15, and Tornado's), whose second message is closed with 1007.
type Deflate struct {
	// Level is the effort, from 1, the fastest, to 9; 0 is 1.
	Level int
	// Threshold is the size in bytes below which messages are sent uncompressed; 0
	// is 128, below 0 compresses all. One that does not become smaller is sent
	// uncompressed too.
	Threshold int
	// ServerTakeover keeps the context of what is sent, for clients that do not
	// refuse that. ClientTakeover lets clients keep theirs.
	ServerTakeover, ClientTakeover bool
	// ServerMaxWindowBits bounds how far back in what was sent a message may refer,
	// to 2^bits bytes, 8 to 15; with takeover so much is kept. 0 is 15, of which 8
	// KiB are kept: more was not seen to make messages smaller.
	ServerMaxWindowBits int
	// ClientMaxWindowBits, 9 to 15, is the same for what clients send; 0 is 15. A
	// client that can not be told so gets no takeover instead.
	ClientMaxWindowBits int
	// MaxWindows bounds the memory for windows, in bytes, as if all were full; who
	// comes beyond it is served without takeover. 0 is 256 MiB.
	MaxWindows int64
}

const (
	defaultMaxWindows  = 256 << 20
	defaultContextBits = 13

	minWindowBits, maxWindowBits = 8, 15
)

// compression is what a server has made of its Deflate.
type compression struct {
	policy      ws.DeflatePolicy
	sender      ws.Deflater
	contextBits int // of what was sent, at most
	maxWindows  int64
	windows     atomic.Int64 // bytes promised to connections

	shared [maxWindowBits - minWindowBits + 1][maxWindowBits - minWindowBits + 1]deflation // by the server's bits and the client's
}

// deflation is a connection's permessage-deflate. One without windows is shared by
// all connections that agreed alike.
type deflation struct {
	agreed ws.DeflateParams
	sender ws.Deflater
	keeps  bool        // the context of what is sent
	over   atomic.Bool // the connection is: whoever has mu, or gets it, frees out
	in     *ws.Window  // the context of what is received, nil for none; the turn's

	// mu is held by whoever compresses with the context, since the peer must get what
	// it makes in the same order. That may take long, so Conn.mu, which the watchdog
	// needs, is taken after it and only to hand the result over.
	mu  sync.Mutex
	out *ws.Window // nil for none

	facts *facts // of a connection that has nothing else to remember; nil: not shared
}

func newCompression(d *Deflate) *compression {
	z := &compression{
		policy: ws.DeflatePolicy{
			ServerTakeover: d.ServerTakeover, ServerMaxWindowBits: d.ServerMaxWindowBits,
			ClientTakeover: d.ClientTakeover, ClientMaxWindowBits: d.ClientMaxWindowBits,
		},
		sender:      ws.Deflater{Level: d.Level, Threshold: cmp.Or(d.Threshold, ws.DefaultDeflateThreshold)},
		contextBits: max(cmp.Or(d.ServerMaxWindowBits, defaultContextBits), minWindowBits),
		maxWindows:  positive(d.MaxWindows, defaultMaxWindows),
	}
	for server := range z.shared {
		for client := range z.shared[server] {
			shared := &z.shared[server][client]
			shared.agreed = ws.DeflateParams{
				ServerNoContextTakeover: true, ServerMaxWindowBits: minWindowBits + server,
				ClientNoContextTakeover: true, ClientMaxWindowBits: minWindowBits + client,
			}
			shared.sender = z.sender
			shared.sender.WindowBits = shared.agreed.ServerMaxWindowBits
			shared.facts = &facts{deflate: shared, shared: true}
		}
	}
	return z
}

// negotiate answers the client's offers of permessage-deflate. What it gives, nil
// for none, is freed by release.
func (z *compression) negotiate(r *ws.Request) (agreed ws.DeflateParams, d *deflation, full bool) {
	agreed = r.SelectDeflate(z.policy)
	if !agreed.Agreed() {
		return agreed, nil, false
	}
	if size := z.windowBytes(agreed); size > 0 && z.windows.Add(size) > z.maxWindows {
		z.windows.Add(-size)
		full = true
		frugal := z.policy
		frugal.ServerTakeover, frugal.ClientTakeover = false, false
		agreed = r.SelectDeflate(frugal)
	}
	if agreed.ServerNoContextTakeover && agreed.ClientNoContextTakeover {
		return agreed, &z.shared[agreed.ServerMaxWindowBits-minWindowBits][agreed.ClientMaxWindowBits-minWindowBits], full
	}
	return agreed, z.deflation(agreed), full
}

// release takes back what negotiate gave. The caller holds mu of the connection
// that it was for, in a turn, or there is no connection.
func (z *compression) release(d *deflation) {
	if d.facts != nil {
		return
	}
	z.windows.Add(-z.windowBytes(d.agreed))
	if d.in != nil {
		d.in.Free()
	}
	d.over.Store(true)
	d.freeOver()
}

// lock is for whoever compresses, and waits only where there is a context.
func (d *deflation) lock() {
	if d.keeps {
		d.mu.Lock()
	}
}

func (d *deflation) unlock() {
	if d.keeps {
		d.mu.Unlock()
		d.freeOver()
	}
}

// freeOver frees the context of a connection that is over, unless somebody is at it:
// that one does it then.
func (d *deflation) freeOver() {
	if !d.over.Load() || !d.mu.TryLock() {
		return
	}
	if d.out != nil {
		d.out.Free()
		d.out = nil
	}
	d.mu.Unlock()
}

// freeWindows is release where there may be no compression at all.
func (s *Server) freeWindows(d *deflation) {
	if d != nil {
		s.compression.release(d)
	}
}

// windowBytes is the memory that windows of these parameters can come to.
func (z *compression) windowBytes(p ws.DeflateParams) (size int64) {
	const least int64 = 512 // see ws.Window
	if !p.ServerNoContextTakeover {
		size += max(1<<z.kept(p.ServerMaxWindowBits), least)
	}
	if !p.ClientNoContextTakeover {
		size += max(1<<p.ClientMaxWindowBits, least)
	}
	return size
}

// kept is the bits of the context that is kept where these are agreed upon.
func (z *compression) kept(serverBits int) int { return min(serverBits, z.contextBits) }

func (z *compression) deflation(p ws.DeflateParams) *deflation {
	d := &deflation{agreed: p, sender: z.sender}
	d.sender.WindowBits = p.ServerMaxWindowBits
	if !p.ServerNoContextTakeover {
		d.out, d.keeps = &ws.Window{Bits: z.kept(p.ServerMaxWindowBits)}, true
	}
	if !p.ClientNoContextTakeover {
		d.in = &ws.Window{Bits: p.ClientMaxWindowBits}
	}
	return d
}

// setUp has a decoder take what d's peer may send; d is nil without compression.
func (d *deflation) setUp(decoder *ws.Decoder) {
	decoder.Deflate, decoder.Window = d != nil, nil
	if d != nil {
		decoder.Window = d.in
	}
}

// deflation is the connection's permessage-deflate, nil for none. The caller holds
// mu; what it gives does not change while the connection is open.
func (c *Conn) deflation() *deflation {
	if c.facts == nil {
		return nil
	}
	return c.facts.deflate
}

// Deflate is what was agreed upon for permessage-deflate at the upgrade; not
// Agreed without compression.
func (c *Conn) Deflate() ws.DeflateParams {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.deflation(); d != nil {
		return d.agreed
	}
	return ws.DeflateParams{}
}

// sendDeflated is send for a message, with compression, by a caller that holds
// nothing.
func (c *Conn) sendDeflated(d *deflation, op ws.Opcode, payload []byte) error {
	if len(payload) < d.sender.Threshold || len(payload) > c.limitsNow().maxQueue || c.stateNow() != stateOpen {
		return c.lockAndSend(op, payload, nil) // which may refuse it
	}
	b := buffer.Get(ws.MaxHeader + len(payload) + ws.DeflateRoom)
	defer b.Free()
	d.lock()
	defer d.unlock()
	frame, compressed := d.sender.AppendFrame(b.B, op, payload, d.out)
	if !compressed {
		return c.lockAndSend(op, payload, nil)
	}
	err := c.lockAndSend(op, nil, frame)
	if err == nil {
		c.deflated(d, payload, len(frame))
	}
	return err
}

// sendPreparedDeflated is the same for a prepared message, of which it takes the
// form that all connections that agreed alike get.
func (c *Conn) sendPreparedDeflated(d *deflation, p *ws.Prepared) error {
	if p.Len() > c.limitsNow().maxQueue {
		return c.lockAndSend(p.Opcode(), p.Payload(), nil) // which refuses it
	}
	frame, compressed := p.Deflated(d.sender)
	d.lock()
	defer d.unlock()
	err := c.lockAndSend(p.Opcode(), nil, frame)
	if err == nil && compressed {
		c.deflated(d, p.Payload(), len(frame))
	}
	return err
}

// deflated notes that a compressed frame is on its way. No frame is taken back
// from there unless the connection ends, so the contexts of both sides agree. With
// a context, d is locked.
func (c *Conn) deflated(d *deflation, payload []byte, size int) {
	if d.out != nil {
		d.out.Add(payload)
	}
	c.loop.counters.deflated.add(len(payload), size)
}
