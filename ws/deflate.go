package ws

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Default fields of a Deflater.
const (
	DefaultDeflateLevel     = 1
	DefaultDeflateThreshold = 128 // bytes
)

const maxDeflateLevel = 9

// DeflateRoom is how much more than a header and its payload a compressed frame
// may take while it is made, in bytes.
const DeflateRoom = len(syncTail)

// Deflater makes compressed frames (RFC 7692 section 7.2.1). It is only
// parameters and may be compared, copied and used by any goroutine. What
// compresses, 0.8 to 1.4 MB each depending on the level, comes from a pool that
// all Deflaters share and is borrowed for one message.
type Deflater struct {
	// Level is 1, the fastest, to 9; 0 is 1. Text of 1 KiB takes 5 us at level 1,
	// 6 at 5 and 14 at 9, and becomes 44, 43 and 43 %.
	Level int
	// Threshold is the size in bytes below which a message goes uncompressed,
	// since it would hardly become smaller; 0 is 128, below 0 compresses all.
	Threshold int
	// WindowBits bounds the distance of what a message refers to, to 2^bits
	// bytes, as agreed upon. 0 is 15.
	WindowBits int
}

// AppendFrame appends payload as a whole message in one frame, as a server sends
// it, compressed if that makes it smaller. w is the context that this side takes
// over from message to message, nil for none. It is only read: once a compressed
// frame is certain to be sent, and in that order, w.Add(payload) must be called,
// and must not be for an uncompressed one, which does not enter the peer's
// context (section 7.2.3.2). So a frame may be made and dropped.
//
// With a context each message costs the indexing of what w holds: 10 us for 8
// KiB at level 1, 37 us for 32 KiB. It allocates only if dst has less room than
// MaxHeader, payload and DeflateRoom, or if no compressor is in the pool.
func (z Deflater) AppendFrame(dst []byte, op Opcode, payload []byte, w *Window) (frame []byte, compressed bool) {
	start := len(dst)
	if len(payload) < z.threshold() {
		return AppendFrame(dst, op, payload), false
	}
	dst = AppendHeader(dst, op, true, len(payload))
	body := len(dst)
	dst, compressed = z.compress(dst, payload, w)
	if !compressed {
		return AppendFrame(dst[:start], op, payload), false
	}
	size := len(dst) - body
	header := AppendHeader(dst[:start], op, true, size) // is no longer than the other
	header[start] |= bitCompressed
	copy(dst[len(header):], dst[body:])
	return dst[:len(header)+size], true
}

// threshold is Threshold with its default filled in.
func (z Deflater) threshold() int {
	if z.Threshold == 0 {
		return DefaultDeflateThreshold
	}
	return z.Threshold
}

func (z Deflater) level() int { return min(max(z.Level, DefaultDeflateLevel), maxDeflateLevel) }

// comeTo is the one Deflater for all that make the same of a payload of this
// size, which is not below their thresholds.
func (z Deflater) comeTo(size int) Deflater {
	if bits := windowBits(z.WindowBits); size > 1<<bits && bits < maxWindowBits {
		return Deflater{Threshold: -1, WindowBits: bits} // the level does not matter, see borrow
	}
	return Deflater{Threshold: -1, Level: z.level()}
}

// compress appends payload compressed, without the end that a sender cuts off;
// ok is false if that would not be smaller, and dst then as it was.
func (z Deflater) compress(dst, payload []byte, w *Window) (_ []byte, ok bool) {
	history := w.bytes()
	bits := windowBits(z.WindowBits)
	history = history[max(0, len(history)-1<<bits):]
	if len(history)+len(payload) <= 1<<bits {
		bits = maxWindowBits // no distance can be too long
	}
	c, pool := z.borrow(bits)
	c.dst, c.room = dst, len(payload)-1+len(syncTail)
	c.codec.ResetDict(c, history)
	_, err := c.codec.Write(payload)
	if err == nil {
		err = c.codec.Flush()
	}
	if err == nil {
		dst, ok = c.dst[:len(c.dst)-len(syncTail)], true
	}
	c.dst = nil
	pool.Put(c)
	return dst, ok
}

// compressor is a codec that writes to dst.
type compressor struct {
	codec *flate.Writer
	dst   []byte
	room  int // bytes that dst may still get
}

// byLevel has the compressors with the largest window, by their level, and
// byWindow those with a smaller one, of which the codec has one level only.
var (
	byLevel  [maxDeflateLevel + 1]sync.Pool
	byWindow [maxWindowBits]sync.Pool
)

// borrow gives a compressor and where it is to be put back.
func (z Deflater) borrow(bits int) (*compressor, *sync.Pool) {
	pool := &byLevel[z.level()]
	if bits < maxWindowBits {
		pool = &byWindow[bits]
	}
	if c, _ := pool.Get().(*compressor); c != nil {
		return c, pool
	}
	c := &compressor{} // neither of these levels nor of these sizes is an error
	if bits < maxWindowBits {
		c.codec, _ = flate.NewWriterWindow(nil, 1<<bits)
	} else {
		c.codec, _ = flate.NewWriter(nil, z.level())
	}
	return c, pool
}

var errNotSmaller = errors.New("ws: the message does not become smaller")

// Write is the codec's. It stops it early if a message can not be compressed.
func (c *compressor) Write(p []byte) (int, error) {
	if c.room -= len(p); c.room < 0 {
		return 0, errNotSmaller
	}
	c.dst = append(c.dst, p...)
	return len(p), nil
}
