package server

import (
	"errors"
	"sync/atomic"

	"github.com/millrace/millrace/ws"
)

// EventStreamStats are about event streams, which count among all connections as well.
type EventStreamStats struct {
	Open     int64  // now
	Opened   uint64 // so far
	Left     uint64 // that their clients have left, or that broke
	Ended    uint64 // by the server, for whatever reason
	Comments uint64 // sent to silent ones, as pings are to WebSockets
	NotText  uint64 // binary messages of groups that were not sent to one, which has no form for them without an envelope
}

// eventCounters are a loop's share of it.
type eventCounters struct {
	open                                   atomic.Int64
	opened, left, ended, comments, notText atomic.Uint64
}

func (n *eventCounters) addTo(sum *EventStreamStats) {
	sum.Open += n.open.Load()
	sum.Opened += n.opened.Load()
	sum.Left += n.left.Load()
	sum.Ended += n.ended.Load()
	sum.Comments += n.comments.Load()
	sum.NotText += n.notText.Load()
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
	if end.Remote || end == errGone || end == errReset || end == errDead {
		by = 1 // as ClosedByPeer
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
