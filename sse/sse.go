// Package sse has the format of event streams, also called Server-Sent Events, as the
// WHATWG HTML standard defines it in "Server-sent events": bytes in, events out, and the
// other way. It does no I/O of its own and imports nothing of ours. Package server serves
// event streams.
package sse

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"
)

// ContentType is the media type of an event stream.
const ContentType = "text/event-stream"

// Comment is a line that clients ignore, and the end of an event without data, which they
// ignore as well: it keeps a silent stream from being taken for a dead one.
const Comment = ":\n\n"

// Event is one event of a stream.
type Event struct {
	// ID becomes the client's last event id, which it sends as Last-Event-ID when it
	// connects again; "" leaves that as it was. It may not hold CR, LF or NUL.
	ID string
	// Name is the event's type, "" is "message". It may not hold CR, LF or NUL.
	Name string
	// Data is the content, text in UTF-8. Line ends in it (CR, LF or CRLF) arrive as LF.
	// An event with nil is not given to the client's application, unlike one that is empty.
	Data []byte
	// Retry, from 1 ms on, is how long the client waits from now on before it connects
	// again, in whole milliseconds; 0 leaves that as it was.
	Retry time.Duration
}

var (
	// ErrID: an event's id holds CR, LF or NUL.
	ErrID = errors.New("sse: an event's id holds CR, LF or NUL")
	// ErrName: an event's name holds CR, LF or NUL.
	ErrName = errors.New("sse: an event's name holds CR, LF or NUL")
	// ErrRetry: an event's time to retry is below 0, or not 0 and below 1 ms.
	ErrRetry = errors.New("sse: an event's time to retry is below 1 ms")
)

// Check says why e can not be sent: ErrID, ErrName or ErrRetry.
func (e *Event) Check() error {
	switch {
	case !oneLine(e.ID):
		return ErrID
	case !oneLine(e.Name):
		return ErrName
	case e.Retry != 0 && e.Retry < time.Millisecond:
		return ErrRetry
	}
	return nil
}

func oneLine(text string) bool { return !strings.ContainsAny(text, "\r\n\x00") }

// AppendEvent appends e in the format of a stream, with the empty line that ends it and
// no other. What Check refuses is left out.
func AppendEvent(to []byte, e Event) []byte {
	if e.Retry >= time.Millisecond {
		to = append(to, "retry: "...)
		to = strconv.AppendInt(to, e.Retry.Milliseconds(), 10)
		to = append(to, '\n')
	}
	to = appendField(to, "event: ", e.Name)
	to = appendField(to, "id: ", e.ID)
	if e.Data != nil {
		to = appendData(to, e.Data)
	}
	return append(to, '\n')
}

func appendField(to []byte, name, value string) []byte {
	if value == "" || !oneLine(value) {
		return to
	}
	to = append(to, name...)
	to = append(to, value...)
	return append(to, '\n')
}

// appendData appends a line of data for each line of the data. It takes time linear in its
// length, whatever the line ends.
func appendData(to, data []byte) []byte {
	mixed := bytes.IndexByte(data, '\r') >= 0
	for {
		end := bytes.IndexByte(data, '\n')
		if mixed {
			end = bytes.IndexAny(data, "\r\n")
		}
		line := data
		if end >= 0 {
			line = data[:end]
		}
		to = append(to, "data: "...)
		to = append(to, line...)
		to = append(to, '\n')
		if end < 0 {
			return to
		}
		if data[end] == '\r' && end+1 < len(data) && data[end+1] == '\n' {
			end++
		}
		data = data[end+1:]
	}
}

// Size is the length of the first event, or comment, in p, with the empty line that ends it: p
// is of AppendEvent, or Comment. It is len(p) if no end is there.
func Size(p []byte) int {
	if end := bytes.Index(p, []byte("\n\n")); end >= 0 {
		return end + 2
	}
	return len(p)
}
