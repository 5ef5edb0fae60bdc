package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/netconn"
	"github.com/millrace/millrace/internal/tlsrecord"
	"github.com/millrace/millrace/poller"
)

// # TLS on a loop
//
// A connection of a TLS listener first collects its peer's ClientHello (tls_hello.go):
// until that is whole it has no more than any other connection. Then it gets a
// secure, the stream that runs crypto/tls, whose state says who may use the
// tls.Conn in it. State changes under Conn.mu only:
//
//	state        who uses tls.Conn         what a turn may do
//	queued       nobody                    receive bytes, wait
//	shaking      the handshake's goroutine receive bytes, write what is sealed
//	established  whoever holds Conn.mu     all
//	broken       nobody                    write what is sealed, receive in vain
//	gone         nobody, or net/http       nothing: the connection is over
//
//	queued ──▶ shaking ──▶ established ──▶ broken
//	              └───────────────────────▶ broken
//	any of them ──▶ gone
//
// The goroutine takes queued to shaking, and shaking to established or broken as
// its last act, after which it wakes the connection; that turn moves its state
// on. Turns (and Send) take the other steps. A goroutine that finds gone when it
// comes back under Conn.mu touches nothing more: neither buffers nor descriptor.
//
// The goroutine never reads or closes the descriptor: turns read it, bounded, into
// raw, from which the goroutine takes whole records, waiting for them if need be.
// What it writes it appends to sealed and passes on under Conn.mu, as Send does.
// tls.Conn is given one whole record at a time, so its own buffer is empty when
// the handshake is done: what came behind it is in raw. It never sees a record in
// part; it asks for one that is not there only behind a record without data of the
// application, and errNothingYet, which is temporary, leaves it as it was.
type secureState uint8

const (
	secureQueued secureState = iota
	secureShaking
	secureEstablished
	secureBroken
	secureGone
)

// secure is the stream of a TLS connection. Conn.mu guards it, but for what the
// state gives to the handshake's goroutine.
type tlsStream struct {
	conn  *Conn
	local net.Addr // of the listener
	tls   *tls.Conn
	shake *handshake // until the handshake is over
	state secureState

	raw     *buffer.Buffer // received, for tls
	sealed  *buffer.Buffer // written by tls; the peer's side has taken the first sent bytes of it
	sent    int
	written int64  // by tls in all
	feed    []byte // whole records, for the tls.Read under way
	left    int    // bytes of the record that tls is reading

	over     error            // why reading is over: io.EOF or a *brokenStream
	closing  bool             // close_notify is out
	finDue   bool             // the descriptor's direction is to be ended once nothing is held
	blocking *netconn.Records // what tls goes on with when it leaves the loop
}

const (
	// rawRoom is a worker's room for received records: at most so much plaintext
	// comes of a turn, less than fits worker.in.
	rawRoom = 64 << 10
	// rawBound is how much a peer may send before its handshake takes it: more than
	// a record, or the handshake could wait for the rest of one for ever.
	rawBound = 32 << 10
	// sealAtOnce is how much plaintext is encrypted for one write: with its records'
	// own bytes it fits a buffer of 64 KiB.
	sealAtOnce = 60 << 10
	// sealedBound is what may be held at most. Only answers to a flood of key
	// updates from a peer that reads nothing can get there.
	sealedBound = 256 << 10
)

var (
	errNothingYet error = nothingYet{}
	errFlood            = errors.New("key updates without end from a peer that does not read")
)

// nothingYet tells crypto/tls that there are no bytes for now: it goes on after
// an error that is temporary.
type nothingYet struct{}

func (nothingYet) Error() string   { return "server: no record yet" }
func (nothingYet) Timeout() bool   { return false }
func (nothingYet) Temporary() bool { return true }

// brokenStream is a read error after which a stream can not go on, while what it
// holds is its last word to the peer.
type brokenStream struct{ cause error }

func (b *brokenStream) Error() string { return b.cause.Error() }
func (b *brokenStream) Unwrap() error { return b.cause }

// read implements stream.
func (s *tlsStream) read(w *worker, p []byte) (n int, more bool, err error) {
	switch {
	case s.state <= secureShaking:
		more, err = s.receive(w)
		return 0, more, err
	case s.conn.stateNow() == stateSecure:
		return 0, false, poller.ErrAgain // the wake of the handshake's end is on its way
	case s.state == secureBroken && s.conn.stateNow() >= stateEnding:
		n, err = s.engine().Read(int(s.conn.fd), w.rawRoom()) // for the end of the stream only
		return 0, n == rawRoom, err
	case s.over != nil:
		return 0, false, s.over
	}
	return s.readRecords(w, p)
}

// receive takes bytes for the handshake, whose goroutine is woken when a record is
// whole. At the bound it takes none: the goroutine wakes when there is room.
func (s *tlsStream) receive(w *worker) (more bool, err error) {
	if len(s.raw.B) >= rawBound {
		s.shake.stalled = true
		return false, poller.ErrAgain
	}
	in := w.rawRoom()[:rawBound]
	n, err := s.engine().Read(int(s.conn.fd), in)
	switch {
	case err == io.EOF: // all of the handshake may be before it: the goroutine finds out
		s.shake.ended = true
		err = poller.ErrAgain
	case err == nil:
		s.raw = s.raw.Grow(n)
		s.raw.B = append(s.raw.B, in[:n]...)
	}
	if s.shake.ready(s) {
		s.shake.cond.Signal()
	}
	return n == len(in), err
}

// readRecords gives the plaintext of what is there.
func (s *tlsStream) readRecords(w *worker, p []byte) (n int, more bool, err error) {
	in, more := s.rawBytes(), true
	if tlsrecord.Whole(in) == 0 { // else it came with the handshake
		room := w.rawRoom()
		k := copy(room, in)
		got, err := s.engine().Read(int(s.conn.fd), room[k:])
		if err != nil {
			return 0, false, err
		}
		in, more = room[:k+got], k+got == len(room)
	}
	whole := tlsrecord.Whole(in)
	n, err = s.open(in[:whole], p)
	if err != nil && n > 0 {
		more, err = true, nil // the next read tells of it
	}
	s.keepRaw(in[whole:])
	return n, more, err
}

// open decrypts whole records into p, which has room for all that rawRoom can
// hold.
func (s *tlsStream) open(records, p []byte) (n int, err error) {
	s.feed = records
	for len(s.feed) > 0 {
		m, err := s.tls.Read(p[n:])
		n += m
		if err != nil && err != errNothingYet {
			s.feed = nil
			return n, s.readFailed(err)
		}
	}
	s.feed = nil
	return n, nil
}

// readFailed is the end of reading: the peer's close_notify or what broke the
// stream.
func (s *tlsStream) readFailed(err error) error {
	if err == io.EOF {
		s.over = io.EOF
		return s.over
	}
	s.state = secureBroken
	s.over = &brokenStream{fmt.Errorf("%w: TLS: %w", errGone, err)}
	return s.over
}

// rawBytes are the bytes received and not yet given to tls.
func (s *tlsStream) rawBytes() []byte {
	if s.raw == nil {
		return nil
	}
	return s.raw.B
}

// keepRaw keeps rest, which may be a part of raw, until more comes.
func (s *tlsStream) keepRaw(rest []byte) {
	switch {
	case len(rest) == 0:
		s.raw.Free()
		s.raw = nil
	case s.raw == nil:
		s.raw = buffer.Get(len(rest))
		s.raw.B = append(s.raw.B, rest...)
	default:
		kept := s.raw.B[:0]
		if cap(kept) < len(rest) {
			larger := buffer.Get(len(rest))
			larger.B = append(larger.B, rest...)
			s.raw.Free()
			s.raw = larger
			return
		}
		s.raw.B = append(kept, rest...) // moves, if they overlap
	}
}

// write implements stream. It goes on until something is held: only then an edge
// will tell.
func (s *tlsStream) write(p []byte) (n int, err error) {
	for {
		if err := s.flush(); err != nil {
			return n, err
		}
		switch {
		case n == len(p):
			return n, nil
		case s.held() > 0 && n == 0:
			return 0, poller.ErrAgain
		case s.held() > 0:
			return n, nil
		case s.state != secureEstablished:
			return n, errBroken
		}
		piece := p[n:min(n+sealAtOnce, len(p))]
		s.sealed = buffer.Get(len(piece) + len(piece)/16 + tlsrecord.Overhead)
		if _, err := s.tls.Write(piece); err != nil {
			return n, err
		}
		n += len(piece)
	}
}

var errBroken = errors.New("server: the TLS connection is broken")

// flush implements stream.
func (s *tlsStream) flush() error {
	for s.held() > 0 {
		n, err := s.engine().Write(int(s.conn.fd), s.sealed.B[s.sent:])
		if err == poller.ErrAgain {
			return nil
		}
		if err != nil {
			s.dropSealed()
			return err
		}
		s.sent += n
	}
	s.dropSealed()
	if s.finDue {
		s.finDue = false
		return s.engine().CloseWrite(int(s.conn.fd))
	}
	return nil
}

func (s *tlsStream) dropSealed() {
	s.sealed.Free()
	s.sealed, s.sent = nil, 0
}

// held implements stream.
func (s *tlsStream) held() int {
	if s.sealed == nil {
		return 0
	}
	return len(s.sealed.B) - s.sent
}

// seal takes what tls writes, all of it: an error would stick.
func (s *tlsStream) seal(p []byte) (int, error) {
	switch {
	case s.closing:
		return len(p), nil // an answer to a key update, and our direction is ended
	case s.held()+len(p) > sealedBound:
		return 0, errFlood
	case s.sealed == nil:
		s.sealed = buffer.Get(len(p))
	}
	s.written += int64(len(p))
	s.sealed = s.sealed.Grow(len(p))
	s.sealed.B = append(s.sealed.B, p...)
	return len(p), nil
}

// closeWrite implements stream: close_notify, and behind it the end of the
// descriptor's direction.
func (s *tlsStream) closeWrite() error {
	s.notifyClose()
	s.finDue = true
	return s.flush()
}

func (s *tlsStream) notifyClose() {
	if s.state == secureEstablished && !s.closing {
		_ = s.tls.CloseWrite() // an alert that broke the connection may be out instead
		s.closing = true
	}
}

// close implements stream. The peer gets a close_notify if nothing else has to go
// before it and the kernel takes it.
func (s *tlsStream) close() {
	if s.held() == 0 {
		s.notifyClose()
		_ = s.flush() // as said
	}
	s.leave()
	s.raw.Free()
	s.raw = nil
	s.dropSealed()
}

// leave makes the stream nobody's; its handshake ends.
func (s *tlsStream) leave() {
	if s.shake != nil {
		s.conn.loop.counters.tlsFailed.Add(1)
		s.server().handshakes.forget(s)
		s.shake.cond.Signal()
	}
	s.state = secureGone
}

// connectionState is what the handshake agreed on, for a request.
func (s *tlsStream) connectionState() *tls.ConnectionState {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.tlsState()
}

// tlsState is that for a caller that holds Conn.mu, after the handshake.
func (s *tlsStream) tlsState() *tls.ConnectionState {
	state := s.tls.ConnectionState()
	return &state
}

func (s *tlsStream) server() *Server { return s.conn.loop.srv }

func (s *tlsStream) engine() poller.Engine { return s.conn.loop.engine }
