package netconn

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Pace is what a peer must take, or bring: so many bytes, or the rest if that is less,
// in each Timeout.
type Pace struct {
	Bytes   int
	Timeout time.Duration
}

// Paced is a net.Conn whose peer must take at its Pace what is written; one that does not
// is cut up to a second later. Who writes sees to it that it is one at a time; all
// else may be called meanwhile.
type Paced struct {
	net.Conn
	pace    Pace
	unacked func() int64
	tell    func()

	free atomic.Bool

	// Who writes has these.
	sent int64 // written so far
	late error // the peer has taken too little: nothing more is written

	mu      sync.Mutex // guards what follows, and the order in which deadlines are set
	own, by time.Time  // write deadlines: the user's, and that of a Write under way
}

// NewPaced is conn at a pace. unacked says how many written bytes the peer's side has
// not acknowledged, 0 if that is not known. late is called once the peer was too slow,
// by the Write that finds it.
func NewPaced(conn net.Conn, pace Pace, unacked func() int64, late func()) *Paced {
	return &Paced{Conn: conn, pace: pace, unacked: unacked, tell: late}
}

// look is how often a Write that waits looks how far the peer's side is, if a quarter
// of the timeout is not less.
const look = time.Second

// Write implements net.Conn. An error of the pace is os.ErrDeadlineExceeded, and all
// further Writes have it.
func (c *Paced) Write(p []byte) (n int, err error) {
	switch {
	case c.free.Load():
		return c.Conn.Write(p)
	case c.late != nil:
		return 0, c.late
	}
	now := time.Now()
	since, taken := now, 0
	acked, asked := int64(0), false // below 0 while what others have written is under way
	for {
		m, err := c.writeBy(p[n:], Earlier(since.Add(c.pace.Timeout), now.Add(min(look, c.pace.Timeout/4))))
		n, taken, c.sent = n+m, taken+m, c.sent+int64(m)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || c.ownPassed() {
			return n, err
		}
		now = time.Now()
		has, progress := c.sent-c.unacked(), taken >= c.pace.Bytes
		if !asked {
			acked, asked = has, true
		}
		if has-acked >= int64(c.pace.Bytes) {
			acked, progress = has, true
		}
		switch {
		case progress:
			since, taken = now, 0
		case now.Sub(since) >= c.pace.Timeout:
			c.tell()
			c.late = err
			return n, err
		}
	}
}

// writeBy writes until then.
func (c *Paced) writeBy(p []byte, by time.Time) (n int, err error) {
	if err := c.setWriteDeadline(func() { c.by = by }); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *Paced) ownPassed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.own.IsZero() && !time.Now().Before(c.own)
}

// SetFree ends the watch over the peer: the connection is somebody else's.
func (c *Paced) SetFree() {
	c.free.Store(true)
	_ = c.setWriteDeadline(func() { c.by = time.Time{} }) // it is closed: who writes sees
}

// SetWriteDeadline implements net.Conn. It holds beside the pace.
func (c *Paced) SetWriteDeadline(at time.Time) error {
	return c.setWriteDeadline(func() { c.own = at })
}

// SetDeadline implements net.Conn.
func (c *Paced) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

func (c *Paced) setWriteDeadline(change func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	return c.Conn.SetWriteDeadline(Earlier(c.own, c.by))
}

// CloseWrite ends our direction; errors.ErrUnsupported where the connection can not.
func (c *Paced) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if conn, ok := c.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Earlier is the earlier of two deadlines, of which the zero value is none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
