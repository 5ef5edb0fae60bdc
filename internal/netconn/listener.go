// Package netconn has what stands between net/http or crypto/tls and a peer: a
// net.Listener that is given its connections, a net.Conn that gives whole TLS records,
// one whose peer must take what is written, and a stream of HTTP/2 as a connection. It
// knows blocking calls and their deadlines, and nothing of loops.
package netconn

import (
	"net"
	"sync"
)

// backlog is how many connections a Listener keeps until they are accepted.
const backlog = 128

// Listener is a net.Listener for connections that were accepted elsewhere: it has those
// that Offer brings. All methods may be called from any goroutine.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewListener returns a Listener that nobody has offered anything.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn, backlog), done: make(chan struct{})}
}

// Offer hands c over. It blocks while 128 wait to be accepted. Once the Listener is
// closed, it closes c: the peer sees just that.
func (l *Listener) Offer(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = c.Close() // it is nobody's
	}
	select {
	case <-l.done:
		l.drain() // both cases above may have been possible
	default:
	}
}

// drain closes the connections that nobody accepts any more.
func (l *Listener) drain() {
	for {
		select {
		case c := <-l.conns:
			_ = c.Close() // as in Offer
		default:
			return
		}
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It closes what waits to be accepted, too.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	l.drain()
	return nil
}

// Addr implements net.Listener. It has none.
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{} }
