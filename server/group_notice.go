package server

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// MissedNotice is a text that tells a client that messages of groups were dropped, because it reads too slowly: Before, then
// how many they were, in decimal, then After. On an event stream it is an event.
//
// It comes in their place: behind what was sent before them, and before what was sent behind them. So
// who has seen a message was told of all that was dropped before it, but for one that took the place of another with the same key
// (SendOptions.Key without InOrder). Messages that were dropped one behind the other, before the
// notice is on its way, are told of together. As long as the connection is open, what is told adds up to what was
// dropped: the newest, the oldest, and what has expired. Messages whose place a newer one with the same key took are not counted.
//
// The notice itself is never dropped, and not compressed. Until it goes out it takes 100 bytes of the outbound queue's memory, and none
// of Queue.Max. It is data and no function, since it is put together while the connection is locked.
type MissedNotice struct {
	// Before, After and Event have 1,024 bytes at most in all, and are UTF-8.
	Before, After string
	// Event is the event's name; "" is none. It may not hold CR, LF or NUL.
	Event string
}

// maxNotice bounds a MissedNotice.
const maxNotice = 1024

// check says why a notice can not be sent.
func (n *MissedNotice) check() error {
	event := n.event(nil)
	err := event.Check()
	switch {
	case err != nil:
	case len(n.Before)+len(n.After)+len(n.Event) > maxNotice:
		err = fmt.Errorf("more than %d bytes", maxNotice)
	case !utf8.ValidString(n.Before) || !utf8.ValidString(n.After) || !utf8.ValidString(n.Event):
		err = errors.New("not UTF-8")
	default:
		return nil
	}
	return fmt.Errorf("server: Accept.MissedNotice: %w", err)
}

func (n *MissedNotice) event(data []byte) sse.Event { return sse.Event{Name: n.Event, Data: data} }

// frame is a notice of so many messages, as a frame or as an event.
func (n *MissedNotice) frame(messages int, event bool) []byte {
	text := append(strconv.AppendInt([]byte(n.Before), int64(messages), 10), n.After...)
	if event {
		return sse.AppendEvent(nil, n.event(text))
	}
	return ws.AppendFrame(nil, ws.Text, text)
}

// leaveGap notes that a message is missing behind all that waits. Where nothing waits, it is told at once. The
// caller holds mu; the connection is open.
func (c *Conn) leaveGap() {
	switch notice := c.handler.missed; {
	case notice == nil:
	case c.queue() != nil:
		c.out.AddGap(1)
		c.charge()
	default:
		c.sentMessages(1)
		_ = c.put(ws.Text, nil, c.missedFrame(1), nil) // there is no queue that could be full
	}
}

// missedFrame is the notice that takes the place of so many messages. The caller holds mu.
func (c *Conn) missedFrame(messages int) []byte {
	return c.handler.missed.frame(messages, c.is(eventStream))
}
