package server

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/netconn"
	"github.com/millrace/millrace/ws"
)

// # One request at a time
//
// net/http reads requests leniently. So it never sees one of HTTP/1 that this server's
// own parser has not passed: of a connection it is shown one request, whose framing
// is known from its head, and nothing behind it. When it asks for the next one, a
// whole plain head is vetted and passed on right away; anything else goes back to a
// loop with the connection, as if it had just come (http_return.go): an upgrade, a bad
// head, a head in part.
//
// While a handler runs, net/http reads on to see whether the client is gone. That
// Read waits on the connection behind the request's end and gives no byte.

// httpConn is a connection of HTTP/1 as net/http has it. Reads come one at a time, as
// net/http's connReader sees to; everything else may be called meanwhile.
type httpConn struct {
	net.Conn             // the end, or a tls.Conn above it
	end      *httpSocket // below all
	stream   *tlsStream  // nil: plain

	viaTLS    bool // the PROXY header says that the client came over TLS
	anonymous bool // or that nobody knows it

	// The reader's.
	frame   requestFraming
	unread  []byte // of the request, or of the next ones
	between bool   // no request is under way: net/http asks for the next
	last    bool   // the request's body was not read to its end: no other follows
	flaw    error  // why nothing more is read of this request

	bodyLeft time.Duration // for the body's next 4 KiB, while they are waited for
	bodyGot  int           // of them

	free  atomic.Bool // hijacked: what follows is no request
	fresh atomic.Bool // its first request is not being served yet, see netHTTP.offered

	mu      sync.Mutex // guards what follows, and the order in which deadlines are set
	change  sync.Cond
	own, by time.Time // read deadlines: net/http's or its handler's, and that of a body
	closed  bool
	away    bool // a loop has the connection
}

// requestFraming is what is left of a request: its head, and its body.
type requestFraming struct {
	head   int
	length int64
	chunks *ws.ChunkScanner // nil: the body is not chunked, or over
}

func frameOf(r *ws.Request, head int) requestFraming {
	length, chunked := r.Body()
	if chunked {
		return requestFraming{head: head, chunks: &ws.ChunkScanner{}}
	}
	return requestFraming{head: head, length: length}
}

func (f *requestFraming) over() bool { return f.head == 0 && f.length == 0 && f.chunks == nil }

// take says how many of the next bytes are the request's. An error is about the byte
// behind them.
func (f *requestFraming) take(p []byte) (n int, err error) {
	n = min(f.head, len(p))
	f.head -= n
	if f.chunks != nil && n < len(p) {
		k, done, err := f.chunks.Scan(p[n:])
		if done {
			f.chunks = nil
		}
		return n + k, err
	}
	k := min(f.length, int64(len(p)-n))
	f.length -= k
	return n + int(k), nil
}

// readAhead is how much may be read in one go behind what is sure to be a chunk's.
const readAhead = 4 << 10

// most is how much to read for the rest of the request: of what is behind it there
// comes readAhead at most.
func (f *requestFraming) most() int64 {
	if f.chunks != nil {
		return f.chunks.Left() + readAhead
	}
	return f.length
}

func newHTTPConn(conn net.Conn, end *httpSocket, frame requestFraming, unread []byte) *httpConn {
	c := &httpConn{Conn: conn, end: end, unread: unread}
	c.fresh.Store(true)
	c.change.L = &c.mu
	c.begin(frame)
	return c
}

// begin begins a request.
func (c *httpConn) begin(frame requestFraming) {
	c.frame, c.between = frame, false
	c.bodyLeft, c.bodyGot = c.end.srv.limits.body, 0
}

// Read implements net.Conn.
func (c *httpConn) Read(p []byte) (int, error) {
	switch {
	case c.free.Load():
		return c.readOn(p)
	case c.flaw != nil:
		return 0, c.flaw
	case !c.frame.over():
		return c.readRequest(p)
	case c.between:
		return c.readNext(p)
	}
	return c.awaitEnd(p)
}

// readOn reads for whoever has hijacked the connection.
func (c *httpConn) readOn(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(p)
	}
	return c.takeUnread(copy(p, c.unread)), nil
}

// takeUnread takes off n unread bytes.
func (c *httpConn) takeUnread(n int) int {
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil
	}
	return n
}

// readRequest reads of the request under way.
func (c *httpConn) readRequest(p []byte) (n int, err error) {
	if len(c.unread) > 0 {
		n = min(len(p), len(c.unread))
		n, c.flaw = c.frame.take(c.unread[:n])
		copy(p, c.unread[:n])
		c.takeUnread(n)
	} else {
		all, err := c.readBody(p[:min(int64(len(p)), c.frame.most())])
		if all == 0 {
			return 0, err
		}
		n, c.flaw = c.frame.take(p[:all])
		c.unread = append(c.unread, p[n:all]...)
	}
	if n == 0 {
		return 0, c.flaw
	}
	return n, nil
}

// readBody reads of the body: 4 KiB of it must come, or the rest, in each Timeouts.Body
// that is spent waiting here.
func (c *httpConn) readBody(p []byte) (n int, err error) {
	s := c.end.srv
	if s.limits.body == 0 {
		return c.Conn.Read(p)
	}
	began := time.Now()
	if err := c.setReadDeadline(func() { c.by = began.Add(c.bodyLeft) }); err != nil {
		return 0, err
	}
	n, err = c.Conn.Read(p)
	now := time.Now()
	c.mu.Lock()
	late := errors.Is(err, os.ErrDeadlineExceeded) && !now.Before(c.by) && (c.own.IsZero() || c.by.Before(c.own))
	c.mu.Unlock()
	if err := c.setReadDeadline(func() { c.by = time.Time{} }); err != nil && n == 0 {
		return 0, err
	}
	c.bodyLeft -= now.Sub(began)
	if c.bodyGot += n; c.bodyGot >= progressBytes {
		c.bodyLeft, c.bodyGot = s.limits.body, 0
	}
	if late {
		s.hit(LimitBodyTimeout)
		c.flaw = err
	}
	return n, err
}

// awaitEnd waits for what may come behind the request, and gives none of it. Once a
// byte is there, it only waits to be called off, as net/http does.
func (c *httpConn) awaitEnd(p []byte) (int, error) {
	if len(c.unread) == 0 {
		n, err := c.Conn.Read(p)
		if n == 0 {
			return 0, err
		}
		c.unread = append(c.unread, p[:n]...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed {
		if c.own.IsZero() {
			c.change.Wait()
			continue
		}
		left := time.Until(c.own)
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		late := time.AfterFunc(left, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.change.Broadcast()
		})
		c.change.Wait()
		late.Stop()
	}
	return 0, net.ErrClosed
}

// Close implements net.Conn. It does nothing to a connection that a loop has.
func (c *httpConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.change.Broadcast()
	away := c.away
	c.mu.Unlock()
	if away {
		return nil
	}
	return c.Conn.Close()
}

// CloseWrite ends our direction: net/http does so when it has not read all, before it
// closes the connection.
func (c *httpConn) CloseWrite() error {
	if secured, ok := c.Conn.(*tls.Conn); ok {
		_ = secured.CloseWrite() // the peer sees the end below in any case
	}
	return c.end.CloseWrite()
}

// SetReadDeadline implements net.Conn. It holds beside that of a body.
func (c *httpConn) SetReadDeadline(at time.Time) error {
	return c.setReadDeadline(func() { c.own = at })
}

// SetDeadline implements net.Conn.
func (c *httpConn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

func (c *httpConn) setReadDeadline(change func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil
	}
	change()
	c.change.Broadcast()
	return c.Conn.SetReadDeadline(netconn.Earlier(c.own, c.by))
}

// SetWriteDeadline implements net.Conn.
func (c *httpConn) SetWriteDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil
	}
	return c.Conn.SetWriteDeadline(at)
}

// tlsHTTPConn is a httpConn over TLS, whose state net/http asks for.
type tlsHTTPConn struct {
	*httpConn
	secured connectionStater
}

// ConnectionState is the TLS state of each request on the connection.
func (c tlsHTTPConn) ConnectionState() tls.ConnectionState { return c.secured.ConnectionState() }

// httpConnOf is the httpConn that conn is, nil if it is none.
func httpConnOf(conn net.Conn) *httpConn {
	switch conn := conn.(type) {
	case *httpConn:
		return conn
	case tlsHTTPConn:
		return conn.httpConn
	}
	return nil
}
