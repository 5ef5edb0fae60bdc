// Package outqueue has the outbound queue of a connection: WebSocket frames that the
// kernel has not taken yet, in pooled buffers, or shared with other queues; or the events
// of an event stream. It knows where a frame ends, so that a queue can be cut short and
// the peer still gets whole frames; it does not write itself, and knows nothing of
// connections, deadlines and limits.
package outqueue

import (
	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

const (
	// segmentRoom is the room that small frames share, in bytes.
	segmentRoom = 4 << 10
	// maxPieces is how many segments one write takes.
	maxPieces = 16
	// segmentMemory is what a segment takes besides its bytes: its place in
	// Queue.segments, which grows by halves, and the buffer's header.
	segmentMemory = 96
)

// Queue is an outbound queue. The zero value is empty. It is not safe for concurrent
// use, and not to be copied. It has no bound of its own: see Len and Memory.
type Queue struct {
	// Events: what stands for frames here are events of an event stream. It is set before the
	// first is queued. SetPong is not for these.
	Events bool
	// Gaps: what is dropped is told in its place, see Writer.Missing. It is set as Events is.
	Gaps bool

	segments    []frames
	bytes       int // in the segments, not yet written
	loose       int // of them, in frames that may be dropped
	looseFrames int // so many
	expiring    int // frames that expire
	room        int // the capacity of their buffers
	pieces      [][]byte
	pong        []byte // the payload of a pong that waits for all else to be written; nil: none
}

// frames is a run of whole frames, of which the first off bytes are written. They stand
// in a buffer of the queue's own, or are one frame that is shared. Or they are missing: see gap.
type frames struct {
	buf    *buffer.Buffer
	shared *Shared // nil with buf
	off    int     // of a gap: how many are missing
	plain  int32   // bytes at its head that are no frames
	mark   uint32  // the looseMark of its key; 0: it may not be dropped, or is begun
}

// loose says whether a run may be dropped.
func (s *frames) loose() bool { return s.mark != 0 }

// looseMark is what a key's hash comes to that is never 0.
func looseMark(hash uint32) uint32 { return hash | 1 }

// Writer is what takes a queue's bytes, as many as it can without blocking: as a
// poller.Engine does with a descriptor. It keeps none of the slices.
type Writer interface {
	Write(p []byte) (n int, err error)
	Writev(pieces [][]byte) (n int, err error) // of two pieces at least
	// Missing gives the frame that tells that so many are missing, the same each time. It is called for a write, and
	// only with Queue.Gaps. If some of it is taken Told is called, with its length: it is queued then.
	Missing(frames int) []byte
	Told(bytes int)
}

// Add queues head and tail, which together are whole frames, behind plain other bytes
// (the answer to an upgrade). Of them the first written bytes are written already.
// They are copied. Only into an empty queue may plain and written be other than 0.
func (q *Queue) Add(head, tail []byte, plain, written int) {
	skip := 0
	if len(tail) == 0 {
		skip = q.wholeFrames(head, plain, written)
	}
	plain, written, head = max(plain-skip, 0), written-skip, head[skip:]
	size := len(head) + len(tail)
	last := len(q.segments) - 1
	if last < 0 || q.segments[last].room() < size {
		buf := buffer.Get(max(size, q.nextRoom()))
		q.segments = append(q.segments, frames{buf: buf, off: written, plain: int32(plain)})
		q.room += cap(buf.B)
		last++
	}
	b := q.segments[last].buf
	b.B = append(append(b.B, head...), tail...)
	q.bytes += size - written
}

// nextRoom is the least room of the next buffer: little behind a shared frame, since the next one may
// be shared too, and would end the run.
func (q *Queue) nextRoom() int {
	if last := len(q.segments) - 1; last >= 0 && q.segments[last].buf == nil {
		return 0
	}
	return segmentRoom
}

// room is how many bytes can be added to the run.
func (s *frames) room() int {
	if s.buf == nil {
		return 0
	}
	return cap(s.buf.B) - len(s.buf.B)
}

// wholeFrames is the length of the frames, behind plain other bytes, that end
// within the first n bytes.
func (q *Queue) wholeFrames(b []byte, plain, n int) int {
	if n < plain {
		return 0
	}
	end := plain
	for end < n {
		next := end + q.frameSize(b[end:])
		if next > n {
			break
		}
		end = next
	}
	return end
}

// frameSize is the length of the frame at the head of b.
func (q *Queue) frameSize(b []byte) int {
	if q.Events {
		return sse.Size(b)
	}
	return ws.FrameSize(b)
}

// Adopt queues whole frames in a buffer of their own, which is the queue's from here on.
// Of them the first written bytes are written already: 0 unless the queue is empty.
func (q *Queue) Adopt(buf *buffer.Buffer, written int) {
	q.segments = append(q.segments, frames{buf: buf, off: written})
	q.room += cap(buf.B)
	q.bytes += len(buf.B) - written
}

// SetPong has a pong follow when all else is written, or at PlacePong: the latest is enough
// (RFC 6455 section 5.5.3). The payload, of ws.MaxControlPayload bytes at most, is copied.
func (q *Queue) SetPong(payload []byte) {
	if q.pong == nil {
		q.pong = make([]byte, 0, ws.MaxControlPayload)
	}
	q.pong = append(q.pong[:0], payload...)
}

// DropPong forgets the pong that waits: nothing comes behind a close frame.
func (q *Queue) DropPong() { q.pong = nil }

// HasPong says whether a pong waits for its time.
func (q *Queue) HasPong() bool { return q.pong != nil }

// FramePong queues the pong that waits, if it is its time, and returns the length of
// its frame; 0: there is none to queue.
func (q *Queue) FramePong() int {
	if len(q.segments) > 0 {
		return 0
	}
	return q.PlacePong()
}

// PlacePong is FramePong before its time: the pong keeps its place before what is queued
// next. Len grows by the frame's header.
func (q *Queue) PlacePong() int {
	if q.pong == nil {
		return 0
	}
	var frame [ws.MaxHeader + ws.MaxControlPayload]byte
	pong := ws.AppendFrame(frame[:0], ws.Pong, q.pong)
	q.pong = nil
	q.Add(pong, nil, 0, 0)
	return len(pong)
}

// Write gives w the next bytes, in one call and at most so many, and takes off what w
// has taken. The errors are w's. More than a pong must wait.
func (q *Queue) Write(w Writer, most int) (n int, err error) {
	if len(q.segments) == 1 {
		p := q.segments[0].offer(w)
		n, err = w.Write(p[:min(len(p), most)])
	} else {
		n, err = q.writePieces(w, most)
	}
	q.advance(w, n)
	return n, err
}

func (q *Queue) writePieces(w Writer, most int) (n int, err error) {
	q.pieces = q.pieces[:0]
	for _, s := range q.segments[:min(len(q.segments), maxPieces)] {
		piece := s.offer(w)
		piece = piece[:min(len(piece), most)]
		q.pieces = append(q.pieces, piece)
		if most -= len(piece); most == 0 {
			break
		}
	}
	if len(q.pieces) == 1 {
		n, err = w.Write(q.pieces[0])
	} else {
		n, err = w.Writev(q.pieces)
	}
	clear(q.pieces)
	return n, err
}

// rest is what is not written.
func (s *frames) rest() []byte { return s.content()[s.off:] }

func (s *frames) content() []byte {
	if s.buf == nil {
		return s.shared.Frame
	}
	return s.buf.B
}

// advance takes n written bytes off the queue.
func (q *Queue) advance(w Writer, n int) {
	q.bytes -= n
	done := 0
	for n > 0 {
		s := &q.segments[done]
		if s.gap() {
			q.tell(w, s)
		}
		left := len(s.rest())
		if n < left {
			q.account(s, -1)
			s.off, s.mark = s.off+n, 0
			break
		}
		n -= left
		q.free(s)
		done++
	}
	q.dropFirst(done)
}

// fewSegments are moved to the front when those before them go, so that their room is used
// again. Of many the front is given up instead: it is left behind when they next grow.
const fewSegments = 64

// dropFirst takes the first n segments off, which are freed.
func (q *Queue) dropFirst(n int) {
	if len(q.segments)-n > fewSegments {
		q.segments = q.segments[n:]
		return
	}
	rest := copy(q.segments, q.segments[n:])
	clear(q.segments[rest:])
	q.segments = q.segments[:rest]
}

// Truncate drops all but the rest of a frame (or of the plain bytes) of which
// something is written already: after it a frame may follow.
func (q *Queue) Truncate() {
	q.pong = nil
	if len(q.segments) == 0 {
		return
	}
	first := &q.segments[0]
	if first.gap() {
		first.off = 0
	}
	end := q.boundary(first)
	if first.buf != nil { // else it is one frame
		first.buf.B = first.buf.B[:end]
	}
	for i := range q.segments[1:] {
		q.free(&q.segments[1+i])
	}
	q.segments = q.segments[:1]
	if q.bytes = end - first.off; q.bytes == 0 {
		q.free(first)
		q.segments = q.segments[:0] // a stream takes nothing of nothing, for ever
	}
}

// boundary is the first end of a frame at or behind what is written.
func (q *Queue) boundary(s *frames) int {
	end := int(s.plain)
	for end < s.off {
		end += q.frameSize(s.content()[end:])
	}
	return end
}

// Release gives the buffers back: the queue is empty.
func (q *Queue) Release() {
	for i := range q.segments {
		q.free(&q.segments[i])
	}
	q.segments, q.bytes, q.pong = nil, 0, nil
}

// free gives a segment's buffer, or frame, back.
func (q *Queue) free(s *frames) {
	q.account(s, -1)
	switch {
	case s.buf != nil:
		q.room -= cap(s.buf.B)
		s.buf.Free()
	case s.shared != nil:
		s.shared.Released()
	}
	*s = frames{}
}

// Empty says that nothing waits, no pong and no gap either.
func (q *Queue) Empty() bool { return len(q.segments) == 0 && q.pong == nil }

// Unwritten is how many bytes wait to be written, without a pong that waits for them.
func (q *Queue) Unwritten() int { return q.bytes }

// Len is how many bytes wait, the payload of a pong included.
func (q *Queue) Len() int { return q.bytes + len(q.pong) }

// Memory is what the queue takes besides itself and the pieces of a write, in bytes:
// by the capacity of its buffers, and without what is shared.
func (q *Queue) Memory() int { return q.room + len(q.segments)*segmentMemory + cap(q.pong) }
