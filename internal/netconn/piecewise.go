package netconn

import (
	"net"
	"sync/atomic"
	"time"
)

// Piecewise is a net.Conn whose peer must take each piece of what is written within a
// time: as Paced, for connections of which a Write can not be interrupted and gone on
// with, as that of a tls.Conn. What the peer's side has acknowledged is not known. Who
// writes sees to it that it is one at a time; all else may be called meanwhile.
type Piecewise struct {
	net.Conn
	piece   int
	timeout time.Duration
	watch   watch
	free    atomic.Bool
}

// NewPiecewise is conn, whose peer takes piece bytes, or the rest, in each timeout. Else
// late is called, in a goroutine of its own, and conn is closed.
func NewPiecewise(conn net.Conn, piece int, timeout time.Duration, late func()) *Piecewise {
	c := &Piecewise{Conn: conn, piece: piece, timeout: timeout}
	c.watch.late = func() {
		late()
		_ = conn.Close() // the Write sees
	}
	return c
}

// Write implements net.Conn.
func (c *Piecewise) Write(p []byte) (n int, err error) {
	if c.free.Load() {
		return c.Conn.Write(p)
	}
	for {
		c.watch.begin(c.timeout)
		m, err := c.Conn.Write(p[n:min(n+c.piece, len(p))])
		c.watch.end()
		if n += m; err != nil || n >= len(p) {
			return n, err
		}
	}
}

// SetFree ends the watch over the peer with the next Write: the connection is somebody
// else's.
func (c *Piecewise) SetFree() { c.free.Store(true) }

// CloseWrite ends our direction; errors.ErrUnsupported where the connection can not.
func (c *Piecewise) CloseWrite() error { return closeWrite(c.Conn) }
