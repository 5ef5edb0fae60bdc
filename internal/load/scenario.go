package load

import "time"

// behaviour is what a scenario does about what happens to connections. It is
// called from its loop's goroutine and must not block.
type behaviour interface {
	// opened: the connection is upgraded.
	opened(l *loop, c *conn)
	// received: a message came, whole and right, of l.now and c.in.size bytes.
	received(l *loop, c *conn)
	// emptied: the kernel has taken all that was to send.
	emptied(l *loop, c *conn)
	// ended: the connection has ended, its place is free. asked tells whether
	// we had asked for that.
	ended(l *loop, c *conn, asked bool)
	// due does what is due by now and says when it wants to be called next.
	due(l *loop, now time.Duration) time.Duration
}

// never is later than anything.
const never = time.Duration(1<<63 - 1)

// quiet is the behaviour of a loop whose scenario has not begun or is over:
// nothing is sent. Others are built on it.
type quiet struct{}

func (quiet) opened(*loop, *conn) {}
func (quiet) received(l *loop, c *conn) {
	if l.checking != unchecked { // else it answers nothing
		c.received++
	}
}
func (quiet) emptied(*loop, *conn)                   {}
func (quiet) ended(*loop, *conn, bool)               {}
func (quiet) due(*loop, time.Duration) time.Duration { return never }
