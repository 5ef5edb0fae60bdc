package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// # Event streams
//
// A connection whose Accept has EventStream is one like any other, but for what it says.
// It is answered with 200 in place of 101; where a WebSocket has frames it has events
// (package sse), which are whole in its queue as frames are; and its end is our FIN, behind an
// event that tells why. What its peer sends is thrown away, and says nothing but that it is there.
// So there is nothing to pause, no rate, no idle timeout and no closing handshake.

// ErrNotEventStream: the connection is a WebSocket, which has no events.
var ErrNotEventStream = errors.New("server: the connection is a WebSocket, and no event stream")

var (
	errNoEventStream = errors.New("server: the request is for an event stream, and the Accept has no EventStream: set it to r.EventStream()")
	errNoWebSocket   = errors.New("server: the request is for a WebSocket, and the Accept has EventStream")

	errClientLeft = &ws.CloseError{Code: ws.CodeNoStatus, Remote: true}
	errClientTalk = &ws.CloseError{Code: ws.CodePolicy, Reason: "too many bytes behind the request for an event stream"}
)

// refusePlain is the answer to a plain request where only WebSockets are. Who asks for an event stream is told why there is none.
func (s *Server) refusePlain(r *ws.Request) error {
	if !s.EventStreams && r.EventStream() {
		return refuseEventStreams
	}
	return r.RefusePlain()
}

var refuseEventStreams = &ws.Refusal{
	Status: http.StatusUpgradeRequired,
	Reason: "this is a WebSocket, and no event stream (Server.EventStreams is off): connect with the WebSocket protocol",
}

// IsEventStream says whether c is an event stream and no WebSocket: see Accept.EventStream.
func (c *Conn) IsEventStream() bool { return c.is(eventStream) }

// SendEvent sends an event. Its errors are Send's, those of sse.Event.Check, after which
// nothing was sent, and ErrNotEventStream. e.Data is the caller's when it returns.
func (c *Conn) SendEvent(e sse.Event) error {
	switch err := e.Check(); {
	case err != nil:
		return err
	case !c.is(eventStream):
		return ErrNotEventStream
	}
	return c.sendEvent(e)
}

// sendEvent is Send with an event for a message.
func (c *Conn) sendEvent(e sse.Event) error {
	if err := c.loop.srv.checkText(ws.Text, e.Data); err != nil {
		return err
	}
	lines := 1 + bytes.Count(e.Data, []byte("\n")) + bytes.Count(e.Data, []byte("\r"))
	b := buffer.Get(eventRoom + len(e.ID) + len(e.Name) + len(e.Data) + lines*len("data: \n"))
	defer b.Free()
	b.B = sse.AppendEvent(b.B, e)
	return c.lockAndSend(ws.Text, nil, b.B)
}

// eventRoom is room for what an event has besides its values and data.
const eventRoom = 64

// sendAsEvent is Send for an event stream.
func (c *Conn) sendAsEvent(op ws.Opcode, payload []byte) error {
	if op != ws.Text {
		return ErrOpcode
	}
	if payload == nil {
		payload = []byte{} // an event with data
	}
	return c.sendEvent(sse.Event{Data: payload})
}

// sendPreparedEvent is SendPrepared for an event stream.
func (c *Conn) sendPreparedEvent(p *ws.Prepared) error {
	event := p.Event()
	if event == nil {
		return ErrOpcode
	}
	return c.lockAndSend(ws.Text, nil, event)
}

// sayEnd is sayClose for an event stream. The caller holds mu.
func (c *Conn) sayEnd(cause *ws.CloseError) {
	if cause.Remote || !cause.Code.Sendable() {
		return
	}
	_ = c.put(ws.Close, nil, sse.AppendEvent(nil, endEvent(cause)), nil) // as a close frame it is never refused
}

// endEvent is the last of a stream.
func endEvent(cause *ws.CloseError) sse.Event {
	_, reason := ws.ParseClose(ws.AppendClose(nil, cause.Code, cause.Reason)[2:]) // is cut, and UTF-8
	data, _ := json.Marshal(struct {
		Code   ws.Code `json:"code"`
		Reason string  `json:"reason"`
	}{cause.Code, reason}) // does not fail
	return sse.Event{Name: "close", Data: data}
}

// A client of a server that drains comes back from drainRetry on, and within drainRetrySpread.
const (
	drainRetry       = time.Second
	drainRetrySpread = 4 * time.Second
)

// endStreamForDrain ends an event stream for a drain, and has clients come back
// scattered.
func (c *Conn) endStreamForDrain(cause *ws.CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	retry := drainRetry + c.scattered(c.loop.RightNow(), loop.TicksOf(drainRetrySpread)).Time()
	c.catchUp()
	if c.stateNow() == stateOpen {
		_ = c.put(ws.Close, nil, sse.AppendEvent(nil, sse.Event{Retry: retry}), nil) // as the close event it is never refused
		c.endLocked(cause, endGraceful)
	}
}

// comment keeps a silent event stream alive, and says whether its peer is dead: its side
// has taken nothing since the last time that something was on its way.
func (c *Conn) comment(now tick) (dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unacked := c.unacked()
	acked := c.written() - unacked
	switch f := c.facts; {
	case unacked == 0:
		if f != nil && f.behind {
			f.behind = false
		}
	case f != nil && f.behind && f.acked == acked:
		return true
	default:
		f = c.ownFacts()
		f.behind, f.acked = true, acked
	}
	c.pingedAt = max(now, 1) // the next one counts from here
	c.loop.counters.events.comments.Add(1)
	_ = c.put(ws.Ping, nil, []byte(sse.Comment), nil) // no queue: nothing to fail here
	return false
}

// maxTalk is how many bytes an event stream's peer may send behind its request, which nobody
// reads.
const maxTalk = 64 << 10

// throwAway is what is done with them: the bytes of the turn are counted already.
func (c *Conn) throwAway(w *worker) {
	lim := &c.loop.srv.limits
	if c.received(w) > uint64(lim.proxyHeader+lim.head.Bytes+maxTalk) {
		c.end(errClientTalk, endLinger)
	}
}
