package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// # Bridges
//
// A connection of net/http that has no descriptor for a loop to watch (TLS, a
// net.Conn that wraps another, a stream of HTTP/2: see exchange) stands on the far side of a
// bridge. To its loop the bridge is a stream like any other: it never blocks,
// and asks for a turn where a poller would report an edge. What blocks are its
// goroutines:
//
//   - the reader reads into a buffer and waits until turns have taken it;
//   - the writer, which exists only while there is something to do, writes what
//     turns and Sends have left, ends our direction, and closes the far side.
//
// So everything above a stream, the handler included, is the same code on both.

const (
	// bridgeIdle is what a reader reads into while it waits. A read that fills it
	// is followed by one into a buffer from the pools.
	bridgeIdle = 1 << 10
	bridgeRead = 16 << 10 // no TLS record and no frame of HTTP/2 gives more
	// bridgeOut bounds what a bridge has taken and the far side has not.
	bridgeOut = 64 << 10
	// bridgePiece is what the far side gets in one go: the grain in which a peer's
	// progress is seen.
	bridgePiece = 16 << 10
	// hangUpTime is what the far side has for the last bytes.
	hangUpTime = 500 * time.Millisecond
	// maxEmptyReads ends a reader that is given neither bytes nor an error.
	maxEmptyReads = 100
)

// bridge is the stream of a connection that goroutines read and write.
type bridge struct {
	srv   *Server
	far   io.ReadWriteCloser // its Close breaks a Read and a Write under way
	begun chan struct{}

	// Of a connection that a loop takes under Conn.mu.
	secured *tls.ConnectionState // nil: the far side is not TLS, as far as is known
	local   netip.AddrPort       // see Conn.LocalAddr
	unix    bool                 // the far side is, or is carried by, a Unix socket

	guest *guest // nil: the connection was net/http's

	// Set before begun is closed.
	conn    *Conn       // nil: no loop takes it
	refusal *ws.Refusal // why not; nil: the server is closing

	mu      sync.Mutex    // guards what follows; taken inside Conn.mu
	change  sync.Cond     // in was taken, or one of the conditions to go on or to end was set
	in      []byte        // read, and not yet taken by a turn
	inErr   error         // what the reader met behind in
	reading bool          // the reader is in a Read
	paced   bool          // it reads when it is asked to
	asked   bool          // it is
	handed  func([]byte)  // takes the far side over, and what was read and not taken; nil: nobody does
	waited  time.Duration // in Reads: the sum of those that have ended, minus the start of one under way (add now)
	out     *buffer.Buffer
	unsent  int  // bytes in out and in the writer's hands
	sent    int  // written since the last flush: to the connection they are still held
	told    bool // that there is something to flush
	outErr  error
	unheard bool // outErr is set, and no flush has returned it yet
	writer  bool // there is one
	fin     bool // our direction is to end
	over    bool // the connection is closed
	hungUp  bool // and so is the far side
	late    *time.Timer
}

func newBridge(s *Server, far io.ReadWriteCloser) *bridge {
	b := &bridge{srv: s, far: far, begun: make(chan struct{})}
	b.change.L = &b.mu
	return b
}

// tlsState is that of the far side, if it is TLS.
func (b *bridge) tlsState() *tls.ConnectionState { return b.secured }

// begin lets the reader begin, for c. The leader calls it.
func (b *bridge) begin(c *Conn) {
	b.srv.loopsDone.Add(1) // not the first: c keeps its loop
	c.loop.counters.bridged.Add(1)
	c.ownFacts().stream = b // nobody else knows c yet
	b.conn = c
	close(b.begun)
}

// abandon is in place of begin when no loop takes it: why, if there is something
// to say.
func (b *bridge) abandon(why *ws.Refusal) {
	b.refusal = why
	close(b.begun)
}

// wait returns when the far side is closed by the writer, its last act.
func (b *bridge) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.hungUp {
		b.change.Wait()
	}
}

// refuse answers a request that no loop takes, within hangUpTime.
func (b *bridge) refuse() {
	late := time.AfterFunc(hangUpTime, func() { _ = b.far.Close() }) // as below
	defer late.Stop()
	if b.refusal != nil {
		b.srv.refused(b.refusal, b.remote(), nil)
		_, _ = b.far.Write(appendRefusal(nil, nil, b.refusal)) // best effort
	}
	_ = b.far.Close() // the peer sees just that
}

// remote is the far side's address, if it has one.
func (b *bridge) remote() netip.AddrPort {
	if conn, ok := b.far.(net.Conn); ok {
		return remoteOf(conn)
	}
	return netip.AddrPort{}
}

func (b *bridge) now() time.Duration { return b.srv.engine.Now() }

// waitedForPeer is how long the reader has been in Reads so far: next to no time in
// those that found something.
func (b *bridge) waitedForPeer() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reading {
		return b.waited + b.now()
	}
	return b.waited
}

func (b *bridge) read(_ *worker, p []byte) (n int, more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.in) > 0:
		n = copy(p, b.in)
		if b.in = b.in[n:]; len(b.in) == 0 {
			b.change.Broadcast()
		}
		return n, len(b.in) > 0 || b.inErr != nil || b.paced, nil
	case b.inErr != nil:
		return 0, false, b.inErr
	}
	b.goOn()
	return 0, false, poller.ErrAgain
}

func (b *bridge) write(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch n = min(len(p), bridgeOut-b.unsent); {
	case b.outErr != nil:
		return 0, b.outErr
	case len(p) == 0:
		return 0, nil
	case n == 0:
		return 0, poller.ErrAgain
	}
	if b.out == nil {
		b.out = buffer.Get(n)
	}
	b.out = b.out.Grow(n)
	b.out.B = append(b.out.B, p[:n]...)
	b.unsent += n
	b.wantWriter()
	return n, nil
}

// flush lets the connection know what the writer has written: progress shows
// here and nowhere else.
func (b *bridge) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent, b.told, b.unheard = 0, false, false
	return b.outErr
}

func (b *bridge) held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unheard {
		return b.unsent + b.sent + 1 // or a Send that is just handing bytes over would take them for written
	}
	return b.unsent + b.sent
}

func (b *bridge) closeWrite() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.outErr == nil {
		b.fin = true
		b.wantWriter()
	}
	return b.outErr
}

// close lets the writer close the far side, when it has written what it has: for
// hangUpTime, if it must.
func (b *bridge) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn.loop.counters.bridged.Add(-1)
	b.over = true
	b.change.Broadcast()
	if b.writer {
		b.late = time.AfterFunc(hangUpTime, func() { _ = b.far.Close() }) // the writer sees
	}
	b.wantWriter()
}

func (b *bridge) setNoDelay(on bool) error {
	for far := any(b.far); ; {
		switch conn := far.(type) {
		case interface{ SetNoDelay(bool) error }:
			return conn.SetNoDelay(on)
		case interface{ NetConn() net.Conn }: // as tls.Conn has it
			far = conn.NetConn()
		default:
			return fmt.Errorf("server: Nagle's algorithm of a %T: %w", far, errors.ErrUnsupported)
		}
	}
}

// wantWriter makes sure that there is a writer. The caller holds mu; a
// connection that is not closed keeps its loop, and so the count of goroutines
// above zero.
func (b *bridge) wantWriter() {
	if !b.writer {
		b.writer = true
		b.srv.loopsDone.Go(b.writeAll)
	}
}

// writeAll is the writer's goroutine. It returns when there is nothing to do.
func (b *bridge) writeAll() {
	for {
		b.mu.Lock()
		out, fin, over := b.out, b.fin, b.over
		b.out, b.fin = nil, b.fin && out != nil
		b.writer = out != nil || fin || over
		b.mu.Unlock()
		switch {
		case out != nil:
			b.pass(out.B)
			out.Free()
		case over:
			b.hangUp()
			return
		case fin:
			b.endWrite()
		default:
			return
		}
	}
}

// pass writes p to the far side, in pieces.
func (b *bridge) pass(p []byte) {
	for len(p) > 0 {
		piece := p[:min(len(p), bridgePiece)]
		n, err := b.far.Write(piece)
		if n < len(piece) && err == nil {
			err = io.ErrShortWrite
		}
		p = p[n:]
		b.mu.Lock()
		b.unsent -= n
		b.sent += n
		if err != nil {
			b.giveUp(err)
			p = nil
		}
		tell := !b.told
		b.told = true
		b.mu.Unlock()
		if tell {
			b.conn.loop.Post(b.conn.member(), writable)
		}
	}
}

// giveUp drops what can not be written any more. The caller holds mu.
func (b *bridge) giveUp(err error) {
	b.outErr, b.unheard = err, true
	b.out.Free()
	b.out, b.unsent = nil, 0
}

// endWrite ends our direction. Where that can not be told (a net.Conn without
// CloseWrite), the peer has our close frame and ends the connection.
func (b *bridge) endWrite() {
	if far, ok := b.far.(interface{ CloseWrite() error }); ok {
		_ = far.CloseWrite() // a far side that is broken tells the reader
	}
}

// hangUp closes the far side, which ends the reader.
func (b *bridge) hangUp() {
	if b.late != nil {
		b.late.Stop()
	}
	_ = b.far.Close() // the connection is over in any case
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hungUp = true
	b.change.Broadcast()
}
