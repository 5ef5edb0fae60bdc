package server

import (
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// direct is the payload size from which a frame is written straight from the
// caller's bytes instead of being copied into the cork. Measured: copying 16 KiB is
// 4 % cheaper than a second piece for the kernel, copying 32 KiB 7 % dearer.
const direct = 24 << 10

// Send sends a message, text or binary. The payload is copied or written before
// it returns, so it stays the caller's. Within a handler the messages for its own
// connection are gathered and written together when the handler returns, or when
// it blocks; from elsewhere they are written at once. (While all of
// Server.Runtime.Workers are held by blocked handlers, nobody is there to notice that
// one more blocks: then they wait for it.) What the kernel does not take waits in
// the outbound queue.
//
// ErrClosed: the connection is closing or closed. ErrQueueFull: the queue's bound
// would be passed, see Server.Queue.Policy. ErrMessageTooBig: the payload is larger
// than Server.Queue.Max, and what follows is the policy's too. In all these cases nothing
// of the message was sent. A text message must be valid UTF-8 (RFC 6455 section 5.6); Send checks it with Server.Runtime.Debug only.
// Another opcode is ErrOpcode: see Ping and Close.
//
// On an event stream a text becomes an event with that data, see SendEvent, and binary is ErrOpcode.
func (c *Conn) Send(op ws.Opcode, payload []byte) error {
	if op != ws.Text && op != ws.Binary {
		return ErrOpcode
	}
	if err := c.loop.srv.checkText(op, payload); err != nil {
		return err
	}
	if c.is(eventStream) {
		return c.sendAsEvent(op, payload)
	}
	if d := c.deflationNow(); d != nil {
		return c.sendDeflated(d, op, payload)
	}
	return c.lockAndSend(op, payload, nil)
}

// deflationNow is deflation for a caller that does not hold mu.
func (c *Conn) deflationNow() *deflation {
	if c.loop.srv.compression == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deflation()
}

// large is the size from which a message is copied before mu is taken, so that what
// the kernel does not take need not be copied under it: 1 MiB takes 0.1 ms.
const large = 1 << 20

// lockAndSend is send for a caller that does not hold mu.
func (c *Conn) lockAndSend(op ws.Opcode, payload, frame []byte) error {
	if len(payload)+len(frame) > large {
		return c.sendLarge(op, payload, frame)
	}
	c.mu.Lock()
	err := c.send(op, payload, frame, nil)
	c.mu.Unlock()
	return err
}

func (c *Conn) sendLarge(op ws.Opcode, payload, frame []byte) error {
	var own *buffer.Buffer
	if size := len(payload) + len(frame); size-ws.MaxHeader <= c.limitsNow().maxQueue && c.stateNow() == stateOpen {
		own = buffer.Get(ws.MaxHeader + size)
		if frame == nil {
			own.B = ws.AppendFrame(own.B, op, payload)
		} else {
			own.B = append(own.B, frame...)
		}
		payload, frame = nil, own.B
	}
	c.mu.Lock()
	err := c.send(op, payload, frame, &own)
	c.mu.Unlock()
	own.Free() // if it is still ours
	return err
}

// SendText is Send of a text message.
func (c *Conn) SendText(text string) error { return c.Send(ws.Text, []byte(text)) }

// SendBinary is Send of a binary message.
func (c *Conn) SendBinary(payload []byte) error { return c.Send(ws.Binary, payload) }

// SendJSON sends v as a text message in JSON (encoding/json). The errors are Send's, and
// json.Marshal's, after which nothing was sent.
func (c *Conn) SendJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return c.Send(ws.Text, text)
}

// Ping sends a ping with a payload of at most 125 bytes; see PongHandler for the
// answer. Keepalive pings go out by themselves. An event stream gets a comment
// without the payload, which nobody answers.
func (c *Conn) Ping(payload []byte) error {
	if len(payload) > ws.MaxControlPayload {
		return ErrTooBig
	}
	var frame []byte
	if c.is(eventStream) {
		payload, frame = nil, []byte(sse.Comment)
	}
	c.mu.Lock()
	err := c.send(ws.Ping, payload, frame, nil)
	c.mu.Unlock()
	return err
}

// send takes one frame, given as its payload or whole, for the cork, the kernel
// or the queue. If the frame stands in *own (own may be nil), that becomes the
// queue's where it has to wait, and *own nil. The caller holds mu.
func (c *Conn) send(op ws.Opcode, payload, frame []byte, own **buffer.Buffer) error {
	if c.grouped() != nil { // catchUp looks too, but would be called for each message
		c.catchUp()
	}
	if c.takesNothing() {
		return ErrClosed
	}
	if max(len(payload), len(frame)-ws.MaxHeader) > c.limits().maxQueue {
		c.tooBig(c.limits().drops)
		return ErrMessageTooBig
	}
	if err := c.put(op, payload, frame, own); err != nil {
		return err
	}
	if op == ws.Text || op == ws.Binary {
		c.sentMessages(1)
	}
	return nil
}

// put is send whatever the connection's state.
func (c *Conn) put(op ws.Opcode, payload, frame []byte, own **buffer.Buffer) error {
	if c.writeBroken() {
		return nil // Handler.Close will tell
	}
	if c.out != nil && c.out.corked {
		if len(payload)+len(frame) < direct {
			c.putCorked(op, payload, frame)
			return nil
		}
		if c.writeCork(); c.writeBroken() {
			return nil // as above
		}
	}
	if c.out == nil || c.out.corked {
		c.putDirect(op, payload, frame, own)
		return nil
	}
	return c.putQueued(op, payload, frame, own)
}

// putCorked gathers the frame in the turn's output.
func (c *Conn) putCorked(op ws.Opcode, payload, frame []byte) {
	out := c.out
	before := len(out.cork)
	if frame != nil {
		out.cork = append(out.cork, frame...)
	} else {
		out.cork = ws.AppendFrame(out.cork, op, payload)
	}
	c.sentBytes(len(out.cork) - before)
	if len(out.cork) >= min(c.loop.srv.limits.corkBytes, c.limits().maxQueue) {
		c.writeCork()
	}
}

// putDirect writes the frame, and queues what the kernel does not take.
func (c *Conn) putDirect(op ws.Opcode, payload, frame []byte, own **buffer.Buffer) {
	var b *buffer.Buffer
	head, tail := frame, []byte(nil)
	if frame == nil {
		b = buffer.Get(ws.MaxHeader + direct)
		if len(payload) < direct {
			b.B = ws.AppendFrame(b.B, op, payload)
		} else {
			b.B, tail = ws.AppendHeader(b.B, op, true, len(payload)), payload
		}
		head = b.B
	}
	c.sentBytes(len(head) + len(tail))
	if c.writeOut(head, tail, 0, own) {
		c.wake() // for the write deadline; the edge comes by itself
	}
	b.Free()
}

// writeOut writes head and tail, which begin with plain bytes that are no frames;
// what is not taken becomes the queue. The caller holds mu; there is no queue.
func (c *Conn) writeOut(head, tail []byte, plain int, own **buffer.Buffer) (queued bool) {
	n, err := c.write(head, tail)
	size := len(head) + len(tail)
	if n == size && err == nil && c.held() == 0 || !c.openForRest(n, size, err) {
		return false
	}
	switch {
	case n == size:
	case own != nil && *own != nil:
		c.out.Adopt(*own, n)
		*own = nil
	default:
		c.out.Add(head, tail, plain, n)
	}
	c.out.acked = c.acked()
	c.charge()
	return true
}

// putQueued puts the frame behind what waits already.
func (c *Conn) putQueued(op ws.Opcode, payload, frame []byte, own **buffer.Buffer) error {
	size := len(payload) + len(frame) + ws.MaxHeader
	if over := c.queued() + size - c.limits().maxQueue; over > 0 && op != ws.Close && op != ws.Pong {
		c.makeRoom(over)
	}
	switch {
	case op == ws.Close || op == ws.Pong:
	case c.queued()+size > c.limits().maxQueue:
		c.overflow(LimitQueue, errSlow, c.limits().drops)
		return ErrQueueFull
	case c.loop.srv.governor.outbound.full():
		c.overflow(LimitQueueMemory, errShed, c.limits().drops)
		return ErrQueueFull
	}
	if op == ws.Close {
		c.out.DropPong() // nothing comes behind a close frame
	}
	c.sentBytes(c.out.PlacePong())
	before := c.out.size()
	switch {
	case own != nil && *own != nil:
		c.out.Adopt(*own, 0)
		*own = nil
	case frame != nil:
		c.out.Add(frame, nil, 0, 0)
	default:
		var header [ws.MaxHeader]byte
		c.out.Add(ws.AppendHeader(header[:0], op, true, len(payload)), payload, 0, 0)
	}
	c.sentBytes(c.out.size() - before)
	c.charge()
	return nil
}

// cork makes what is sent from here on wait for the end of the turn, unless the
// loop was taken already: take uncorks under the same lock. queued says whether
// bytes wait to be written.
func (c *Conn) cork(w *worker) (queued bool) {
	c.mu.Lock()
	w.stream, w.pacing.rates, w.deflate = nil, nil, nil
	w.limits = c.limits()
	if c.is(newLimits) {
		c.takeLimits(w)
	}
	if f := c.facts; f != nil {
		w.stream, w.pacing.rates, w.deflate = f.stream, f.rates, f.deflate
	}
	queued = c.queue() != nil
	c.corkLocked(w)
	c.mu.Unlock()
	return queued
}

// hasQueue says whether bytes wait to be written, those of the turn under way
// aside.
func (c *Conn) hasQueue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue() != nil
}

func (c *Conn) corkLocked(w *worker) {
	if c.out == nil && w.HasLoop() {
		c.out = &w.out
	}
}

// uncork writes what the turn has gathered so far and ends the gathering. The
// caller holds mu.
func (c *Conn) uncork() {
	if c.out == nil || !c.out.corked {
		return
	}
	c.writeCork()
	if c.out != nil && c.out.corked {
		c.out = nil
	}
}

// writeCork writes the cork's content; what the kernel does not take becomes the
// queue. The caller holds mu.
func (c *Conn) writeCork() {
	out := c.out
	if len(out.cork) == 0 {
		return
	}
	c.writeOut(out.cork, nil, out.plain, nil)
	out.resetCork()
}

// flushQueue writes what waits, as much as the kernel takes, and says whether
// that was all, or was before the turn. What is sent after it in the turn is
// gathered as usual.
func (c *Conn) flushQueue(w *worker, why reason) (drained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue() == nil {
		return why&emptied != 0
	}
	if !c.flush() {
		return false
	}
	c.corkLocked(w)
	return true
}

// flushAway is flushQueue beside a slow turn, whose handler may be waiting for
// just that.
func (c *Conn) flushAway() (drained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue() != nil && c.flush()
}

// flush writes what waits and, if that was all, gives up the queue. The caller
// holds mu.
func (c *Conn) flush() (drained bool) {
	if c.stateNow() == stateClosed {
		return false
	}
	now := c.loop.RightNow()
	more, err := c.out.flush(c, now)
	if err != nil {
		c.writeFailed(err)
		return false
	}
	c.wakeMissed()
	if more {
		c.loop.Post(c.member(), writable) // after the others
	}
	if !c.out.Empty() || c.held() > 0 {
		if c.out.started == now {
			c.out.acked = c.acked()
		}
		c.charge()
		return false
	}
	c.dropQueue()
	return true
}

// pong answers a ping. Behind a queue one pong is enough, the latest (RFC 6455
// section 5.5.3): a flood of pings from a peer that does not read costs no more. It goes
// before the connection's next own message (putQueued), and once a second before one of a group.
func (c *Conn) pong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch o := c.queue(); {
	case c.stateNow() != stateOpen:
	case o != nil && !o.Empty():
		o.SetPong(payload)
		c.charge()
	default:
		_ = c.put(ws.Pong, payload, nil, nil) // corked, or the first of a queue: nothing to fail here
	}
}
