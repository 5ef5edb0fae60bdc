package server

import (
	"errors"

	"github.com/millrace/millrace/ws"
)

// Close codes are counted in few slots, since a peer may send any: 1000 to 1015
// one each, the registered and the private ones one together each.
const (
	closeOther = iota
	closeRegistered
	closePrivate
	closeFirst // of 1000
	closeSlots = closeFirst + int(lastCode-ws.CodeNormal) + 1
)

// lastCode is the last of the codes that RFC 6455 section 7.4.1 lists.
const lastCode ws.Code = 1015

func closeSlot(code ws.Code) int {
	switch {
	case code >= ws.CodeNormal && code <= lastCode:
		return closeFirst + int(code-ws.CodeNormal)
	case code >= 3000 && code < 4000:
		return closeRegistered
	case code >= 4000 && code < 5000:
		return closePrivate
	}
	return closeOther
}

func slotCode(slot int) ws.Code {
	switch slot {
	case closeOther:
		return 0
	case closeRegistered:
		return 3000
	case closePrivate:
		return 4000
	}
	return ws.CodeNormal + ws.Code(slot-closeFirst)
}

// ClosedByPeer says of the error that Handler.Close gets who ended the connection: the
// peer, with a close frame or by vanishing, or the server.
func ClosedByPeer(err error) bool {
	var end *ws.CloseError
	return errors.As(err, &end) && byPeer(end)
}

func byPeer(end *ws.CloseError) bool {
	return end.Remote || end == errGone || end == errReset || end == errDead
}

// countOpened counts a connection that is accepted.
func (c *Conn) countOpened(events bool) {
	n := &c.loop.counters
	if events {
		n.events.open.Add(1)
		n.events.opened.Add(1)
	} else {
		n.upgraded.Add(1)
	}
}

// countClosed counts its end.
func (c *Conn) countClosed(cause error) {
	n := &c.loop.counters
	end, ok := cause.(*ws.CloseError)
	if !ok && !errors.As(cause, &end) {
		end = errGone
	}
	by := 0
	if byPeer(end) {
		by = 1
	}
	switch {
	case !c.is(eventStream):
		n.closes[by][closeSlot(end.Code)].Add(1)
		return
	case by == 1:
		n.events.left.Add(1)
	default:
		n.events.ended.Add(1)
	}
	n.events.open.Add(-1)
}
