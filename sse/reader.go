package sse

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"strconv"
	"time"
)

// DefaultMaxEvent bounds an event that a Reader reads, in bytes.
const DefaultMaxEvent = 4 << 20

// ErrTooBig: an event, or a line, is longer than Reader.Max.
var ErrTooBig = errors.New("sse: event longer than allowed")

// Reader reads the events of a stream as a browser's EventSource does, for tests and
// clients. It is for one goroutine at a time.
type Reader struct {
	// Max bounds the bytes of an event, its lines and comments together; 0 is DefaultMaxEvent.
	Max int

	in     *bufio.Reader
	begun  bool // the first line was read, which may have a byte order mark
	cr     bool // the byte before was a CR
	lastID string
	retry  time.Duration
	err    error

	// Of the event so far.
	id   string // is to be the last one
	name string
	data []byte // with an LF behind each line
	size int
}

// NewReader reads a stream from r, the body of a response.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReader(r)} }

// LastID is what a client sends as Last-Event-ID when it connects again; "" is nothing.
func (r *Reader) LastID() string { return r.lastID }

// Retry is the time to wait before that, as the server has last said; 0: it has not.
func (r *Reader) Retry() time.Duration { return r.retry }

// Next gives the next event that has data. ID is the last one so far, as EventSource has
// it, so that of an event without one is that of an event before; Retry is set on the first
// event behind a new one. Data is the caller's. Name is never "". An event that the end
// of the stream cuts off is dropped. The error, which stays, is r's own, io.EOF at the end, or
// ErrTooBig.
func (r *Reader) Next() (Event, error) {
	before := r.retry
	for r.err == nil {
		line, err := r.line()
		if err != nil {
			r.err = err
			break
		}
		if len(line) > 0 {
			r.field(line)
			continue
		}
		if e, ok := r.dispatch(); ok {
			if r.retry != before {
				e.Retry = r.retry
			}
			return e, nil
		}
	}
	return Event{}, r.err
}

// line reads a line, which ends with CR, LF or CRLF, without its end. A CR ends it at once:
// the LF that may follow is skipped when the next one is read.
func (r *Reader) line() (line []byte, err error) {
	most := r.Max
	if most <= 0 {
		most = DefaultMaxEvent
	}
	for {
		b, err := r.in.ReadByte()
		if err != nil {
			return nil, err
		}
		behindCR := r.cr
		r.cr = b == '\r'
		switch {
		case b == '\n' && behindCR:
			continue
		case b == '\n' || b == '\r':
			if !r.begun {
				r.begun = true
				line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			}
			return line, nil
		}
		if r.size++; r.size > most {
			return nil, ErrTooBig
		}
		line = append(line, b)
	}
}

// field takes a line that is not empty.
func (r *Reader) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		r.name = string(value)
	case "data":
		r.data = append(append(r.data, value...), '\n')
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			r.id = string(value)
		}
	case "retry":
		r.setRetry(value)
	}
}

func (r *Reader) setRetry(value []byte) {
	for _, b := range value {
		if b < '0' || b > '9' {
			return
		}
	}
	if ms, err := strconv.ParseInt(string(value), 10, 64); err == nil && ms <= math.MaxInt64/int64(time.Millisecond) {
		r.retry = time.Duration(ms) * time.Millisecond
	}
}

// dispatch ends an event. ok is false if it has no data.
func (r *Reader) dispatch() (e Event, ok bool) {
	r.lastID = r.id
	if ok = len(r.data) > 0; ok {
		e = Event{ID: r.id, Name: cmp.Or(r.name, "message"), Data: r.data[:len(r.data)-1]}
	}
	r.name, r.data, r.size = "", nil, 0
	return e, ok
}
