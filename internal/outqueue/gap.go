package outqueue

import "github.com/millrace/millrace/internal/buffer"

// # Gaps
//
// With Queue.Gaps, frames that are dropped leave a gap in their place, which knows how many they were. Gaps that
// come to stand side by side are one, so there is one more at most than there are frames. Write offers a frame
// that tells of it in the place of each gap that it comes to. When some of that is taken, it is a frame like others.

// gap says whether a run is a gap.
func (s *frames) gap() bool { return s.buf == nil && s.shared == nil }

// AddGap notes, with Gaps, that so many frames are missing behind all that waits.
func (q *Queue) AddGap(missing int) {
	if q.Gaps {
		q.segments = keep(q.segments, frames{off: missing})
	}
}

// offer is what of a run is to be written next.
func (s *frames) offer(w Writer) []byte {
	if s.gap() {
		return w.Missing(s.off)
	}
	return s.rest()
}

// tell makes a gap of which something is written a frame.
func (q *Queue) tell(w Writer, s *frames) {
	frame := w.Missing(s.off)
	w.Told(len(frame))
	*s = frames{buf: buffer.Get(len(frame))}
	s.buf.B = append(s.buf.B, frame...)
	q.room += cap(s.buf.B)
	q.bytes += len(frame)
}

// keep appends a run to those that are kept. Of a frame that was dropped there is its gap, or nothing.
func keep(kept []frames, s frames) []frames {
	switch last := len(kept) - 1; {
	case s == frames{}:
	case s.gap() && last >= 0 && kept[last].gap():
		kept[last].off += s.off
	default:
		kept = append(kept, s)
	}
	return kept
}

// keepFront is keep the other way round: it puts the first n runs in front of the others, and returns how many of
// these places have become free.
func keepFront(segments []frames, n int) (free int) {
	first := n
	for i := n - 1; i >= 0; i-- {
		switch s := segments[i]; {
		case s == frames{}:
		case s.gap() && first < len(segments) && segments[first].gap():
			segments[first].off += s.off
		default:
			first--
			segments[first] = s
		}
	}
	clear(segments[:first])
	return first
}
