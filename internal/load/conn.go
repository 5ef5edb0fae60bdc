package load

import (
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// state is where in its life a connection is.
type state uint8

const (
	absent     state = iota // not begun, or ended
	connecting              // the kernel is at it
	securing                // TLS shakes hands
	upgrading               // the request is sent, be it for an event stream
	open
	closing // our close frame is sent
)

// conn is one connection, and the place for the next one when it has ended. It
// belongs to its loop. What only a handshake or an unfinished message needs
// hangs on it only so long.
type conn struct {
	fd         int32
	generation uint32 // tells this connection from those before in this place
	number     uint32 // among all of the run: seeds its messages
	state      state
	slow       bool // it reads only when its behaviour does
	again      bool // it is in the loop's list of those to visit again
	deaf       bool // the server takes no more, its last words are still to be read

	began time.Duration // connect
	until time.Duration // the deadline of connecting, securing, upgrading or closing

	wire      *wire      // of TLS; nil: there is none
	deflate   *deflating // nil: nothing is compressed
	stream    *stream    // of an event stream; nil: it is a WebSocket
	handshake *handshake
	unsent    []byte // what the kernel did not take yet

	sent     uint32          // messages sent so far
	received uint32          // and come back
	wanted   uint32          // messages of an open loop that were due so far
	base     uint32          // sent, when the open loop began
	times    []time.Duration // when each message under way was sent; a ring

	in incoming
}

// handshake is what a connection needs until it is upgraded.
type handshake struct {
	key  string
	head []byte // of the response, so far

	// What follows is set while the body of a refusal is waited for.
	refusal      error
	answer, body []byte // parts of head: the refusal's own head, and what is behind it
}

// incoming is the message being received.
type incoming struct {
	header   [10]byte // a header's bytes so far
	held     uint8
	inFrame  bool
	fin      bool
	opcode   ws.Opcode
	message  ws.Opcode // of the message under way; 0: none
	left     int64     // of the frame
	expected []byte    // of the message, as far as it did not come yet
	size     int       // of the message; before its head is whole, the most it may be
	control  []byte    // a control frame's payload so far

	head  [markSize]byte // a published message's, so far
	heads uint8          // bytes of it
	of    head           // what it says
}

// maxInFlight bounds the messages of a connection that are under way at once.
const maxInFlight = 1 << 16

// underWay is how many messages have not come back.
func (c *conn) underWay() int { return int(c.sent - c.received) }

// note keeps the time at which the next message is sent.
func (c *conn) note(now time.Duration) {
	if c.underWay() >= len(c.times) {
		c.growTimes()
	}
	c.times[int(c.sent)&(len(c.times)-1)] = now
	c.sent++
}

func (c *conn) growTimes() {
	grown := make([]time.Duration, max(1, 2*len(c.times)))
	for i := c.received; i != c.sent; i++ {
		grown[int(i)&(len(grown)-1)] = c.times[int(i)&(len(c.times)-1)]
	}
	c.times = grown
}

// sentAt is when the oldest message under way was sent.
func (c *conn) sentAt() time.Duration { return c.times[int(c.received)&(len(c.times)-1)] }

func (c *conn) token(slot int) poller.Token {
	return poller.Token(uint32(slot)) | poller.Token(c.generation)<<32
}

// renew makes the place ready for its next connection.
func (c *conn) renew() {
	*c = conn{
		generation: c.generation + 1, number: c.number, slow: c.slow,
		sent: c.sent, received: c.sent, wanted: c.wanted, base: c.base, times: c.times,
		again: c.again,
	}
}
