package simnet

import (
	"io"
	"sync"
	"syscall"

	"github.com/millrace/millrace/poller"
)

// side is one of a connection's two ends, and indexes what each of them has.
type side uint8

const (
	client side = 0 // the end that dialed
	server side = 1 // the end that was accepted
)

func (s side) other() side { return 1 - s }

// endFlags is the state of one end.
type endFlags uint8

const (
	ended    endFlags = 1 << iota // writes nothing more (FIN)
	closed                        // neither reads nor writes any more
	blocked                       // a write came short: an edge is due once there is room
	detached                      // its descriptor belongs to a net.Conn
	untold                        // it does not know yet of the connection's reset
	resets                        // closing it resets the connection
)

// Conn is a connection, and for those who dialed it their end of it: a
// [net.Conn] that may be read and written without blocking, too. All methods
// may be called from any goroutine.
type Conn struct {
	net      *Network
	listener *Listener

	mu     sync.Mutex
	in     [2]*queue // bytes on the way to that side; nil: none
	extra  *extra    // nil: nobody blocks, and no script
	number uint32    // counts from 0; never changes
	fd     [2]int32  // 0: this end is a net.Conn that never had a descriptor
	flags  [2]endFlags
	reset  bool

	ackOnRead bool // see Config
}

// held reports whether the end s is used as a net.Conn.
func (c *Conn) held(s side) bool {
	return c.flags[s]&closed == 0 && (c.fd[s] == 0 || c.flags[s]&detached != 0)
}

// receive takes bytes that wait for s. c.mu is held, as for all that follow.
func (c *Conn) receive(s side, p []byte) (int, error) {
	if err := c.takeReset(s); err != nil {
		return 0, err
	}
	q, from := c.in[s], s.other()
	if q == nil {
		if c.reset || c.flags[from]&ended != 0 {
			return 0, io.EOF
		}
		return 0, poller.ErrAgain
	}
	n := q.read(p)
	if q.length == 0 {
		c.drop(s)
	}
	if c.flags[from]&blocked != 0 && n > 0 {
		c.flags[from] &^= blocked
		c.announce(from, poller.Writable)
	}
	return n, nil
}

// send takes bytes of the end s, at most limit and what the window holds.
func (c *Conn) send(s side, pieces [][]byte, limit int) (int, error) {
	if err := c.takeReset(s); err != nil {
		return 0, err
	}
	to := s.other()
	if c.reset || c.flags[s]&ended != 0 {
		return 0, syscall.EPIPE
	}
	if c.flags[to]&closed != 0 {
		c.abort()
		return min(size(pieces), limit), nil // as a kernel that learns it only from the answer
	}
	room := min(c.room(s), limit)
	n := 0
	for _, piece := range pieces {
		taken := piece[:min(len(piece), room-n)]
		if len(taken) > 0 && c.in[to] == nil {
			c.in[to] = newQueue()
		}
		if len(taken) > 0 {
			c.in[to].write(taken)
			n += len(taken)
		}
		if len(taken) < len(piece) {
			c.flags[s] |= blocked
			break
		}
	}
	if n == 0 {
		return 0, poller.ErrAgain
	}
	c.announce(to, poller.Readable)
	return n, nil
}

func size(pieces [][]byte) int {
	total := 0
	for _, piece := range pieces {
		total += len(piece)
	}
	return total
}

// pending returns how many bytes wait for s.
func (c *Conn) pending(s side) int {
	if c.in[s] == nil {
		return 0
	}
	return c.in[s].length
}

// room returns how many bytes s may write now.
func (c *Conn) room(s side) int {
	return c.net.window[s.other()] - c.pending(s.other())
}

// readable reports whether a read would not answer ErrAgain.
func (c *Conn) readable(s side) bool {
	return c.in[s] != nil || c.hungUp(s)
}

// hungUp reports whether an end of stream or a reset is there for s.
func (c *Conn) hungUp(s side) bool {
	return c.reset || c.flags[s.other()]&ended != 0
}

// writable reports whether a write would not answer ErrAgain.
func (c *Conn) writable(s side) bool {
	return c.reset || c.flags[s]&ended != 0 || c.flags[s.other()]&closed != 0 || c.room(s) > 0
}

// readiness is what a poller is told when the end s is added.
func (c *Conn) readiness(s side) poller.Ready {
	var ready poller.Ready
	if c.readable(s) {
		ready |= poller.Readable
	}
	if c.hungUp(s) {
		ready |= poller.Hangup
	}
	if c.writable(s) {
		ready |= poller.Writable
	}
	return ready
}

// announce delivers an edge to the end s, in whichever way it is used.
func (c *Conn) announce(s side, ready poller.Ready) {
	if c.flags[s]&closed == 0 && !c.held(s) {
		fd := c.fd[s]
		c.net.table.at(int(fd)).note(fd, ready)
		return
	}
	c.wakeBlocked(s)
}

// end closes the direction from s (FIN).
func (c *Conn) end(s side) error {
	if c.reset || c.flags[s]&closed != 0 {
		return syscall.ENOTCONN
	}
	if c.flags[s]&ended == 0 {
		c.flags[s] |= ended
		c.announce(s.other(), poller.Readable|poller.Hangup)
	}
	return nil
}

// abort resets the connection: what is on the way is lost. An end that had all
// of the stream and its end has nothing to be told.
func (c *Conn) abort() {
	c.reset = true
	for _, s := range [...]side{client, server} {
		if c.in[s] != nil || c.flags[s.other()]&ended == 0 {
			c.flags[s] |= untold
		}
		c.drop(s)
		c.announce(s, poller.Readable|poller.Writable|poller.Hangup)
	}
}

// takeReset tells the end s of a reset, once.
func (c *Conn) takeReset(s side) error {
	if c.flags[s]&untold == 0 {
		return nil
	}
	c.flags[s] &^= untold
	return syscall.ECONNRESET
}

// closeEnd closes the end s; the other one gets an end of stream, or a reset
// when bytes were unread here or [Network.ResetOnClose] asked for it.
func (c *Conn) closeEnd(s side) {
	if c.flags[s]&closed != 0 {
		return
	}
	if !c.reset && (c.in[s] != nil || c.flags[s]&resets != 0) {
		c.abort()
	}
	c.drop(s)
	c.flags[s] |= ended | closed
	c.announce(s, 0) // whoever blocks here sees that it is closed
	if c.reset {
		return
	}
	// Writable too: a blocked writer there is to learn that nobody reads.
	c.announce(s.other(), poller.Readable|poller.Writable|poller.Hangup)
}

// closeFD closes the end s and gives its number back.
func (c *Conn) closeFD(s side) {
	fd := int(c.fd[s])
	c.closeEnd(s)
	c.fd[s] = 0
	c.net.table.at(fd).conn.Store(nil)
	c.net.table.release(fd)
}

// drop loses what waits for s.
func (c *Conn) drop(s side) {
	if c.in[s] != nil {
		c.in[s].free()
		c.in[s] = nil
	}
}

// openFD gives the end s a descriptor, or answers false when there is none left.
func (c *Conn) openFD(s side) (int, bool) {
	fd, ok := c.net.table.take()
	if ok {
		c.setFD(s, fd)
	}
	return fd, ok
}

// setFD makes fd, which is not in use, the descriptor of the end s.
func (c *Conn) setFD(s side, fd int) {
	c.fd[s] = int32(fd)
	c.net.table.at(fd).conn.Store(c)
}
