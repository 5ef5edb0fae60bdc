package outqueue

import "slices"

// Shared is a frame that waits in many queues and is there once.
type Shared struct {
	Frame    []byte // must not change
	Key      any    // may be compared; see Queue.Keyed. nil: none
	KeyHash  uint32 // the same for equal keys
	Expires  uint32 // see Queue.Expire; 0: never
	Released func() // called once for each Queue.Share, when that queue has let go of it
}

// Share queues a frame that is shared, and that may be dropped if it is loose. Of it the
// first written bytes, not all, are written already: 0 unless the queue is empty. Memory
// does not count it.
func (q *Queue) Share(frame *Shared, written int, loose bool) {
	s := frames{shared: frame, off: written}
	if loose && written == 0 {
		s.mark = looseMark(frame.KeyHash)
	}
	q.segments = append(q.segments, s)
	q.bytes += len(frame.Frame) - written
	q.account(&s, 1)
}

// account counts a segment that has come (1), or is about to go or to be begun (-1).
func (q *Queue) account(s *frames, n int) {
	if !s.loose() {
		return
	}
	q.loose += n * len(s.shared.Frame)
	q.looseFrames += n
	if s.shared.Expires != 0 {
		q.expiring += n
	}
}

// Loose is how many bytes wait in frames that may be dropped.
func (q *Queue) Loose() int { return q.loose }

// LooseFrames is how many such frames there are.
func (q *Queue) LooseFrames() int { return q.looseFrames }

// DropOldest drops loose frames, the oldest first, until so many bytes are dropped or none
// is left, and returns how many frames that were.
func (q *Queue) DropOldest(bytes int) (dropped int) {
	end := 0
	for ; end < len(q.segments) && bytes > 0; end++ {
		if s := &q.segments[end]; s.loose() {
			dropped++
			bytes -= len(s.shared.Frame)
			q.drop(s)
		}
	}
	q.dropFirst(keepFront(q.segments, end))
	return dropped
}

// drop takes the bytes of a loose segment off the queue. What it leaves is for keep.
func (q *Queue) drop(s *frames) {
	q.bytes -= len(s.shared.Frame)
	if q.free(s); q.Gaps {
		s.off = 1
	}
}

// Expire drops the loose frames that have expired by now, and returns how many that were.
func (q *Queue) Expire(now uint32) (dropped int) {
	if q.expiring == 0 {
		return 0
	}
	kept := q.segments[:0]
	for _, s := range q.segments {
		if s.loose() && s.shared.Expires != 0 && s.shared.Expires <= now {
			dropped++
			q.drop(&s)
		}
		kept = keep(kept, s)
	}
	clear(q.segments[len(kept):])
	q.segments = kept
	return dropped
}

// Replace puts a frame in the place, of Keyed, of the one with the same key.
func (q *Queue) Replace(at int, frame *Shared) {
	s := &q.segments[at]
	q.bytes += len(frame.Frame) - len(s.shared.Frame)
	q.free(s)
	*s = frames{shared: frame, mark: looseMark(frame.KeyHash)}
	q.account(s, 1)
}

// Remove takes out the frame at a place of Keyed. It leaves no gap.
func (q *Queue) Remove(at int) {
	s := &q.segments[at]
	q.bytes -= len(s.shared.Frame)
	q.free(s)
	end := at + 1
	if at > 0 && end < len(q.segments) && q.segments[at-1].gap() && q.segments[end].gap() {
		q.segments[at-1].off += q.segments[end].off
		end++
	}
	q.segments = slices.Delete(q.segments, at, end)
}

// Keyed is the place of the loose frame with this key, of this hash, until the queue changes, and its
// length; 0: there is none. It looks at frames only whose keys' hashes are the same.
func (q *Queue) Keyed(key any, hash uint32) (at, size int) {
	mark := looseMark(hash)
	for i := range q.segments {
		if s := &q.segments[i]; s.mark == mark && s.shared.Key != nil && s.shared.Key == key {
			return i, len(s.shared.Frame)
		}
	}
	return 0, 0
}
