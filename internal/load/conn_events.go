package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// # Event streams
//
// With Plan.EventStreams the connections of a broadcast that do not publish are event
// streams: each asks with a GET, and what comes in the body of the answer, which does not
// end, is compared like a WebSocket's messages. It sends nothing more.

// stream is what a connection keeps that is an event stream.
type stream struct {
	chunked bool // or the body ends with the connection
	chunks  chunks
	events  events
	said    []byte // so far, in the event that says why the server ends the stream
}

// maxSaid bounds what is kept of a server's last event.
const maxSaid = 256

// streams tells whether a connection is to be an event stream.
func (l *loop) streams(c *conn) bool {
	return l.plan.EventStreams && int(c.number) >= l.plan.Publishers
}

// openStreams is how many event streams are open.
func (l *loop) openStreams() (n int) {
	for i := range l.conns {
		if c := &l.conns[i]; c.state == open && c.stream != nil {
			n++
		}
	}
	return n
}

// asked is what a connection has asked for.
func (c *conn) asked() string {
	if c.stream != nil {
		return "event stream"
	}
	return "upgrade"
}

// checkEventStreams says what does not fit event streams.
func (p *plan) checkEventStreams() error {
	switch {
	case !p.EventStreams:
	case p.Binary:
		return wrong("EventStreams", "they are of text; leave out binary messages")
	case p.compresses():
		return wrong("EventStreams", "they are not compressed; leave out permessage-deflate")
	case p.Publishers >= p.Connections:
		return wrong("EventStreams", "all of the %d connections publish, over WebSockets; leave some that receive", p.Connections)
	}
	return nil
}

// appendEventRequest appends the head of the request for an event stream.
func appendEventRequest(dst []byte, r *ws.ClientRequest) []byte {
	dst = fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: "+sse.ContentType+"\r\nCache-Control: no-store\r\n", r.Target, r.Host)
	if r.Origin != "" {
		dst = fmt.Appendf(dst, "Origin: %s\r\n", r.Origin)
	}
	for _, line := range r.Header {
		dst = append(append(dst, line...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// acceptStream judges the head of the answer to a request for an event stream. What is no
// event stream is a ws.RefusedError.
func (l *loop) acceptStream(c *conn, head []byte) error {
	_, err := l.target.request.CheckResponse(head, "") // which is what reads a status
	refused, ok := errors.AsType[*ws.RefusedError](err)
	if !ok || refused.Status != 200 {
		return err
	}
	mediaType, _, _ := strings.Cut(field(head, "Content-Type"), ";")
	encoding, coding := field(head, "Content-Encoding"), field(head, "Transfer-Encoding")
	c.stream.chunked = strings.EqualFold(coding, "chunked")
	switch {
	case !strings.EqualFold(strings.TrimSpace(mediaType), sse.ContentType):
		return fmt.Errorf("%w, which is no event stream: its Content-Type is %.100q", err, mediaType)
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return fmt.Errorf("%w, an event stream whose Content-Encoding is %.100q", err, encoding)
	case coding != "" && !c.stream.chunked:
		return fmt.Errorf("%w, an event stream whose Transfer-Encoding is %.100q", err, coding)
	}
	return nil
}

// eatBody takes bytes of an event stream's body.
func (l *loop) eatBody(c *conn, in []byte) {
	s := c.stream
	if !s.chunked {
		l.eatEvents(c, in)
		return
	}
	for len(in) > 0 && c.state == open {
		part, rest, err := s.chunks.next(in)
		if err != nil {
			l.lose(c, "wrong event stream: %v", err)
			return
		}
		in = rest
		l.eatEvents(c, part)
		if c.state == open && s.chunks.place == chunksEnded {
			l.lose(c, "the server ended the event stream")
		}
	}
}

// eatEvents takes bytes of an event stream.
func (l *loop) eatEvents(c *conn, in []byte) {
	for s := c.stream; len(in) > 0 && c.state == open; {
		is, part, rest := s.events.next(in)
		in = rest
		switch {
		case is == lastEnd:
			l.lose(c, "closed by the server: %s", saidInEvent(s.said))
		case is == eventEnd:
			l.endEvent(c)
		case is == dataPart && s.events.last:
			s.said = append(s.said, part[:min(len(part), maxSaid-len(s.said))]...)
		case is == dataPart:
			l.eatData(c, part)
		}
	}
}

// eatData takes data of an event, which may be of nothing.
func (l *loop) eatData(c *conn, part []byte) {
	i := &c.in
	if i.message == 0 {
		i.message, i.opcode, i.left = ws.Text, ws.Text, 0
		if !l.expect(c) {
			return
		}
	}
	if int64(len(part)) > l.mayFollow(i) {
		l.wrongEcho(c, "it is longer than the %d bytes sent", i.size)
		return
	}
	if l.compare(c, part) {
		l.meter.Payload += int64(len(part))
	}
}

// endEvent is called when an event is whole.
func (l *loop) endEvent(c *conn) {
	if left := int(l.mayFollow(&c.in)); left > 0 {
		l.wrongEcho(c, "it ends after %d of %d bytes", c.in.size-left, c.in.size)
		return
	}
	l.whole(c)
}

// saidInEvent is what a stream's last event says: of millrace what a close frame does.
func saidInEvent(data []byte) string {
	var said struct {
		Code   ws.Code `json:"code"`
		Reason string  `json:"reason"`
	}
	if err := json.Unmarshal(data, &said); err != nil || said.Code == 0 {
		return fmt.Sprintf("%q", data)
	}
	return inCloseWords(said.Code, said.Reason)
}
