package netconn

import (
	"io"
	"net"
	"sync"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/tlsrecord"
)

// Records is the net.Conn under a tls.Conn that has begun elsewhere: what was received
// and written there comes first. It can give whole records only, one at a time: so there
// is never anything in the tls.Conn's own buffer when it asks for more, and it can go on
// elsewhere once more. Reads come one at a time; all else may be called meanwhile.
type Records struct {
	net.Conn
	whole bool // records only

	// Read's.
	raw  *buffer.Buffer // received before, or of a record that is not whole
	left int            // bytes of the record that tls is reading

	mu     sync.Mutex
	unsent []byte // to be written before all else
}

// NewRecords is conn, from which received was read before (nil: nothing; it is the
// Records' from here on), and to which unsent is to be written before anything else.
// whole: Read is to give whole records, one at a time.
func NewRecords(conn net.Conn, whole bool, received *buffer.Buffer, unsent []byte) *Records {
	return &Records{Conn: conn, whole: whole, raw: received, unsent: unsent}
}

// Read implements net.Conn.
func (r *Records) Read(p []byte) (int, error) {
	if err := r.passOn(); err != nil {
		return 0, err
	}
	if !r.whole && r.raw == nil {
		return r.Conn.Read(p)
	}
	for r.left == 0 {
		in := r.Rest()
		if r.left = tlsrecord.Whole(in); r.left > 0 {
			r.left = tlsrecord.Size(in)
		} else if !r.whole {
			r.left = len(in)
		} else if err := r.fill(p); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.raw.B[:r.left])
	r.left -= n
	if r.raw.B = r.raw.B[:copy(r.raw.B, r.raw.B[n:])]; len(r.raw.B) == 0 {
		r.raw.Free()
		r.raw = nil
	}
	return n, nil
}

// fill reads more of a record. What waits for the first byte of one has no buffer: it
// reads into scratch.
func (r *Records) fill(scratch []byte) error {
	if r.raw == nil {
		n, err := r.Conn.Read(scratch)
		if n > 0 {
			r.raw = buffer.Get(n)
			r.raw.B = append(r.raw.B, scratch[:n]...)
			return nil
		}
		return err
	}
	r.raw = r.raw.Grow(max(tlsrecord.Size(r.raw.B)-len(r.raw.B), tlsrecord.Header))
	size := len(r.raw.B)
	n, err := r.Conn.Read(r.raw.B[size:cap(r.raw.B)])
	r.raw.B = r.raw.B[:size+n]
	switch {
	case n > 0:
		return nil
	case err == io.EOF:
		r.left = size // tls finds that this is no whole record
		return nil
	}
	return err
}

// Rest is what was received and not given, valid until the next Read. No Read may be
// under way.
func (r *Records) Rest() []byte {
	if r.raw == nil {
		return nil
	}
	return r.raw.B
}

// Write implements net.Conn.
func (r *Records) Write(p []byte) (int, error) {
	if err := r.passOn(); err != nil {
		return 0, err
	}
	return r.Conn.Write(p)
}

// passOn writes what is still to be written from before.
func (r *Records) passOn() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsent == nil {
		return nil
	}
	_, err := r.Conn.Write(r.unsent)
	r.unsent = nil
	return err
}
