// Package outqueue has the outbound queue of a connection: WebSocket frames that the
// kernel has not taken yet, in pooled buffers. It knows where a frame ends, so that a
// queue can be cut short and the peer still gets whole frames; it does not write
// itself, and knows nothing of connections, deadlines and limits.
package outqueue

import (
	"github.com/millrace/millrace/internal/buffer"
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
	segments []frames
	bytes    int // in the segments, not yet written
	room     int // the capacity of their buffers
	pieces   [][]byte
	pong     []byte // the payload of a pong that waits for all else to be written; nil: none
}

// frames is a run of whole frames, of which the first off bytes are written.
type frames struct {
	buf   *buffer.Buffer
	off   int
	plain int // bytes at its head that are no frames
}

// Writer is what takes a queue's bytes, as many as it can without blocking: as a
// poller.Engine does with a descriptor. It keeps none of the slices.
type Writer interface {
	Write(p []byte) (n int, err error)
	Writev(pieces [][]byte) (n int, err error) // of two pieces at least
}

// Add queues head and tail, which together are whole frames, behind plain other bytes
// (the answer to an upgrade). Of them the first written bytes are written already.
// They are copied. Only into an empty queue may plain and written be other than 0.
func (q *Queue) Add(head, tail []byte, plain, written int) {
	skip := 0
	if len(tail) == 0 {
		skip = wholeFrames(head, plain, written)
	}
	plain, written, head = max(plain-skip, 0), written-skip, head[skip:]
	size := len(head) + len(tail)
	last := len(q.segments) - 1
	if last < 0 || cap(q.segments[last].buf.B)-len(q.segments[last].buf.B) < size {
		buf := buffer.Get(max(size, segmentRoom))
		q.segments = append(q.segments, frames{buf: buf, off: written, plain: plain})
		q.room += cap(buf.B)
		last++
	}
	b := q.segments[last].buf
	b.B = append(append(b.B, head...), tail...)
	q.bytes += size - written
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

// Adopt queues whole frames in a buffer of their own, which is the queue's from here on.
// Of them the first written bytes are written already: 0 unless the queue is empty.
func (q *Queue) Adopt(buf *buffer.Buffer, written int) {
	q.segments = append(q.segments, frames{buf: buf, off: written})
	q.room += cap(buf.B)
	q.bytes += len(buf.B) - written
}

// SetPong has a pong follow when all else is written: the latest is enough (RFC 6455
// section 5.5.3). The payload, of ws.MaxControlPayload bytes at most, is copied.
func (q *Queue) SetPong(payload []byte) {
	if q.pong == nil {
		q.pong = make([]byte, 0, ws.MaxControlPayload)
	}
	q.pong = append(q.pong[:0], payload...)
}

// DropPong forgets the pong that waits: nothing comes behind a close frame.
func (q *Queue) DropPong() { q.pong = nil }

// FramePong queues the pong that waits, if it is its time, and returns the length of
// its frame; 0: there is none to queue.
func (q *Queue) FramePong() int {
	if q.bytes > 0 || q.pong == nil {
		return 0
	}
	var frame [ws.MaxHeader + ws.MaxControlPayload]byte
	pong := ws.AppendFrame(frame[:0], ws.Pong, q.pong)
	q.pong = nil
	q.Add(pong, nil, 0, 0)
	return len(pong)
}

// Write gives w the next bytes, in one call and at most so many, and takes off what w
// has taken. The errors are w's. There must be Unwritten bytes.
func (q *Queue) Write(w Writer, most int) (n int, err error) {
	if len(q.segments) == 1 {
		p := q.segments[0].rest()
		n, err = w.Write(p[:min(len(p), most)])
	} else {
		n, err = q.writePieces(w, most)
	}
	q.advance(n)
	return n, err
}

func (q *Queue) writePieces(w Writer, most int) (n int, err error) {
	q.pieces = q.pieces[:0]
	for _, s := range q.segments[:min(len(q.segments), maxPieces)] {
		piece := s.rest()
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
func (s *frames) rest() []byte { return s.buf.B[s.off:] }

// advance takes n written bytes off the queue.
func (q *Queue) advance(n int) {
	q.bytes -= n
	done := 0
	for n > 0 {
		s := &q.segments[done]
		left := len(s.rest())
		if n < left {
			s.off += n
			break
		}
		n -= left
		q.free(s)
		done++
	}
	rest := copy(q.segments, q.segments[done:])
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
	end := first.boundary()
	first.buf.B = first.buf.B[:end]
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
func (s *frames) boundary() int {
	end := s.plain
	for end < s.off {
		end += ws.FrameSize(s.buf.B[end:])
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

// free gives a segment's buffer back.
func (q *Queue) free(s *frames) {
	q.room -= cap(s.buf.B)
	s.buf.Free()
	*s = frames{}
}

// Empty says that nothing waits, no pong either.
func (q *Queue) Empty() bool { return q.bytes == 0 && q.pong == nil }

// Unwritten is how many bytes wait to be written, without a pong that waits for them.
func (q *Queue) Unwritten() int { return q.bytes }

// Len is how many bytes wait, the payload of a pong included.
func (q *Queue) Len() int { return q.bytes + len(q.pong) }

// Memory is what the queue takes besides itself and the pieces of a write, in bytes:
// by the capacity of its buffers.
func (q *Queue) Memory() int { return q.room + len(q.segments)*segmentMemory + cap(q.pong) }
