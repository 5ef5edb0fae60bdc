package simnet

import "sync"

// segment is a piece of a queue, 1 KiB in all.
type segment struct {
	next       *segment
	start, end int
	data       [1000]byte
}

// queue holds the bytes on the way to one end. Queues and segments come from
// pools and exist only while there are bytes.
type queue struct {
	head, tail *segment
	length     int
}

var (
	queues   = sync.Pool{New: func() any { return new(queue) }}
	segments = sync.Pool{New: func() any { return new(segment) }}
)

func newQueue() *queue { return queues.Get().(*queue) }

// write appends a copy of p, all of it.
func (q *queue) write(p []byte) {
	q.length += len(p)
	for len(p) > 0 {
		if q.tail == nil || q.tail.end == len(q.tail.data) {
			q.addSegment()
		}
		n := copy(q.tail.data[q.tail.end:], p)
		q.tail.end += n
		p = p[n:]
	}
}

func (q *queue) addSegment() {
	s := segments.Get().(*segment)
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
}

// read moves bytes to p and returns how many.
func (q *queue) read(p []byte) int {
	total := 0
	for len(p) > 0 && q.head != nil {
		s := q.head
		n := copy(p, s.data[s.start:s.end])
		s.start += n
		total += n
		p = p[n:]
		if s.start == s.end {
			q.dropSegment()
		}
	}
	q.length -= total
	return total
}

func (q *queue) dropSegment() {
	s := q.head
	q.head = s.next
	if q.head == nil {
		q.tail = nil
	}
	s.next, s.start, s.end = nil, 0, 0
	segments.Put(s)
}

// free gives the queue back, with what is left in it.
func (q *queue) free() {
	for q.head != nil {
		q.dropSegment()
	}
	q.length = 0
	queues.Put(q)
}
