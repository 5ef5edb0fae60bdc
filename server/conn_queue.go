package server

import (
	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// outbound is what a connection has to send: during a turn, the worker's cork;
// after a short write, the connection's queue. It is guarded by Conn.mu.
type outbound struct {
	corked bool
	cork   []byte
	plain  int       // bytes at the cork's head that are no frames: the 101 response
	sent   turnStats // with the cork: what was accepted for sending

	segments []frames
	bytes    int // in the segments, not yet written
	room     int // the capacity of their buffers
	pieces   [][]byte
	pong     []byte // the payload of a pong that waits for the queue to be empty; nil: none

	started tick  // the write deadline counts from here
	written int   // since then
	acked   int64 // what the peer's side had then, which Conn.flush asks for

	entry // a queue's, in the server's account
}

// frames is a run of whole frames, of which the first off bytes are written.
type frames struct {
	buf   *buffer.Buffer
	off   int
	plain int // bytes at its head that are no frames
}

// keepCork is the size to which a worker's cork may stay grown.
const keepCork = 256 << 10

// segmentRoom is the room that small frames share in the queue.
const segmentRoom = 4 << 10

// flushPieces is how many segments one write takes.
const flushPieces = 16

// queue is the connection's queue, nil if there is none; a cork is none. The caller
// holds mu.
func (c *Conn) queue() *outbound {
	if c.out == nil || c.out.corked {
		return nil
	}
	return c.out
}

func (o *outbound) resetCork() {
	o.plain = 0
	o.cork = o.cork[:0]
	if cap(o.cork) > keepCork {
		o.cork = nil
	}
}

func (o *outbound) empty() bool { return o.bytes == 0 && o.pong == nil }

func (o *outbound) size() int { return o.bytes + len(o.cork) + len(o.pong) }

// add queues head and tail, which together are whole frames (behind plain other
// bytes), of which the first n bytes are written already.
func (o *outbound) add(head, tail []byte, plain, n int) {
	skip := 0
	if len(tail) == 0 {
		skip = wholeFrames(head, plain, n)
	}
	plain, n, head = max(plain-skip, 0), n-skip, head[skip:]
	size := len(head) + len(tail)
	last := len(o.segments) - 1
	if last < 0 || cap(o.segments[last].buf.B)-len(o.segments[last].buf.B) < size {
		buf := buffer.Get(max(size, segmentRoom))
		o.segments = append(o.segments, frames{buf: buf, off: n, plain: plain})
		o.room += cap(buf.B)
		last++
	}
	b := o.segments[last].buf
	b.B = append(append(b.B, head...), tail...)
	o.bytes += size - n
}

// wholeFrames is the length of the frames, behind plain other bytes, that end
// within the first n bytes.
func wholeFrames(b []byte, plain, n int) int {
	if n < plain {
		return 0
	}
	end := plain
	for end < n {
		next := end + ws.FrameSize(b[end:])
		if next > n {
			break
		}
		end = next
	}
	return end
}

// adopt queues a frame in a buffer of its own, of which the first n bytes are
// written already.
func (o *outbound) adopt(buf *buffer.Buffer, n int) {
	o.segments = append(o.segments, frames{buf: buf, off: n})
	o.room += cap(buf.B)
	o.bytes += len(buf.B) - n
}

// writeAtOnce bounds what one write takes, and flushAtOnce a flush: the kernel
// copies, and a stream encrypts, under Conn.mu.
const (
	writeAtOnce = 1 << 20
	flushAtOnce = 1 << 20
)

// flush writes c's queue until the kernel takes no more or all is written, the
// pending pong included. more: that was enough for once, and no edge will tell.
func (o *outbound) flush(c *Conn, now tick) (more bool, err error) {
	if err := o.flushStream(c, now); err != nil {
		return false, err
	}
	for written := 0; ; {
		if o.bytes == 0 && o.pong != nil {
			var frame [ws.MaxHeader + ws.MaxControlPayload]byte
			pong := ws.AppendFrame(frame[:0], ws.Pong, o.pong)
			o.pong = nil
			o.add(pong, nil, 0, 0)
			c.sentBytes(len(pong))
		}
		if o.bytes == 0 {
			return false, nil
		}
		if written >= flushAtOnce {
			return true, nil
		}
		n, err := o.writeSome(c)
		if err == poller.ErrAgain {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		written += n
		o.advance(n, now)
	}
}

// flushStream lets a stream pass on what it holds; that the peer takes it is
// progress. One that holds nothing may have lost it, and says so here.
func (o *outbound) flushStream(c *Conn, now tick) error {
	s := c.stream()
	if s == nil {
		return nil
	}
	before := s.held()
	err := s.flush()
	if n := before - s.held(); n > 0 {
		o.progress(n, now)
	}
	return err
}

func (o *outbound) writeSome(c *Conn) (int, error) {
	if len(o.segments) == 1 {
		return c.write(o.segments[0].buf.B[o.segments[0].off:], nil)
	}
	o.pieces = o.pieces[:0]
	left := writeAtOnce
	for _, ch := range o.segments[:min(len(o.segments), flushPieces)] {
		piece := ch.buf.B[ch.off:]
		piece = piece[:min(len(piece), left)]
		o.pieces = append(o.pieces, piece)
		if left -= len(piece); left == 0 {
			break
		}
	}
	n, err := c.writePieces(o.pieces)
	clear(o.pieces)
	return n, err
}

// advance takes n written bytes off the queue.
func (o *outbound) advance(n int, now tick) {
	o.bytes -= n
	o.progress(n, now)
	done := 0
	for n > 0 {
		ch := &o.segments[done]
		left := len(ch.buf.B) - ch.off
		if n < left {
			ch.off += n
			break
		}
		n -= left
		o.free(ch)
		done++
	}
	rest := copy(o.segments, o.segments[done:])
	clear(o.segments[rest:])
	o.segments = o.segments[:rest]
}

// progress notes that the peer has taken n bytes more.
func (o *outbound) progress(n int, now tick) {
	if o.written += n; o.written >= progressBytes || o.bytes == 0 {
		o.started, o.written = now, 0
	}
}

// truncate drops all but the rest of a frame (or of the plain bytes) of which
// something is written already: after it a frame may follow.
func (o *outbound) truncate() {
	o.pong = nil
	if len(o.segments) == 0 {
		return
	}
	first := &o.segments[0]
	end := boundary(first)
	first.buf.B = first.buf.B[:end]
	for i := range o.segments[1:] {
		o.free(&o.segments[1+i])
	}
	o.segments = o.segments[:1]
	if o.bytes = end - first.off; o.bytes == 0 {
		o.free(first)
		o.segments = o.segments[:0] // a stream takes nothing of nothing, for ever
	}
}

// boundary is the first end of a frame in ch at or behind what is written.
func boundary(ch *frames) int {
	end := ch.plain
	for end < ch.off {
		end += ws.FrameSize(ch.buf.B[end:])
	}
	return end
}

// setPong notes the pong to send when the queue is empty.
func (o *outbound) setPong(payload []byte) {
	if o.pong == nil {
		o.pong = make([]byte, 0, ws.MaxControlPayload)
	}
	o.pong = append(o.pong[:0], payload...)
}

// release gives the buffers back; the queue is not used after it.
func (o *outbound) release() {
	for i := range o.segments {
		o.free(&o.segments[i])
	}
	o.segments, o.bytes, o.pong = nil, 0, nil
}

// free gives a segment's buffer back.
func (o *outbound) free(ch *frames) {
	o.room -= cap(ch.buf.B)
	ch.buf.Free()
	*ch = frames{}
}
