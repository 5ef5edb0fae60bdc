package ws

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/millrace/millrace/internal/buffer"
)

// flushTail is what the sender of a compressed message has cut off its end: an
// empty stored block (RFC 7692 section 7.2.2). Behind it stands one more that is
// final, so that the codec ends there, and only there, without an error.
const (
	syncTail  = "\x00\x00\xff\xff"
	flushTail = syncTail + "\x01" + syncTail
)

var errInflate = &CloseError{Code: CodeInvalidPayload, Reason: "compressed data is corrupt"}

// inflater decompresses one message. The codec keeps 32 KiB of output and its
// tables, 36 KiB in all, which is why inflaters are pooled; it pulls its input
// and can not wait for more in the midst of a block, which is why it gets a
// message whole.
type inflater struct {
	source bytes.Reader
	codec  io.Reader      // a flate.Resetter too
	piece  *buffer.Buffer // of a streamed message
	done   bool
	one    [1]byte
}

var inflaters = sync.Pool{New: func() any {
	f := &inflater{}
	f.codec = flate.NewReader(&f.source)
	return f
}}

// newInflater reads in, the compressed message with its flushTail, until free.
// What was compressed before it is in window.
func newInflater(in []byte, window *Window) *inflater {
	f := inflaters.Get().(*inflater)
	f.done = len(in) == len(flushTail)
	f.source.Reset(in)
	f.reset(window.bytes())
	return f
}

// reset begins a DEFLATE stream where the last one ended, if any.
func (f *inflater) reset(history []byte) {
	_ = f.codec.(flate.Resetter).Reset(&f.source, history) // is never an error
}

// read fills p, which is not empty, with at least one byte; io.EOF is the end,
// and errInflate any error. A block that is marked as final ends its DEFLATE
// stream but not the message: another stream may follow (section 7.2.3.4),
// which starts without history, as zlib's inflateReset does. A message without
// a byte, or one that ends with a final block, is taken too.
func (f *inflater) read(p []byte) (int, error) {
	for !f.done {
		n, err := f.codec.Read(p)
		switch {
		case n > 0:
			return n, nil
		case err == io.EOF && (f.source.Len() == 0 || f.source.Len() == len(flushTail)):
			f.done = true
		case err == io.EOF:
			f.reset(nil)
		case err != nil:
			return 0, errInflate
		}
	}
	return 0, io.EOF
}

// readWithin is read for a message that may have left more bytes, else
// errTooBig.
func (f *inflater) readWithin(left int64, p []byte) (n int, err error) {
	if left > 0 {
		return f.read(p[:min(int64(len(p)), left)])
	}
	if _, err = f.read(f.one[:]); err == nil {
		err = errTooBig
	}
	return 0, err
}

// held is the memory of f, the codec's included, in bytes.
func (f *inflater) held() int {
	const codec = 36 << 10
	if f.piece == nil {
		return codec
	}
	return codec + cap(f.piece.B)
}

// free gives everything back.
func (f *inflater) free() {
	f.piece.Free()
	f.piece = nil
	f.source.Reset(nil)
	inflaters.Put(f)
}
