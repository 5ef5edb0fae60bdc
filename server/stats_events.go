package server

import "sync/atomic"

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
