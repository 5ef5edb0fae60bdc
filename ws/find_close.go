package ws

import "math"

// FindClose looks for the peer's close frame on a connection that has failed, and
// drops everything else. A server that has failed it may process nothing more (RFC
// 6455 section 7.1.7), but once both close frames are there the closing handshake
// is over, and it need not wait any longer (sections 5.5.1 and 7.1.1). FindClose
// eats all of in, in whatever pieces the bytes come, and leaves it as it is.
//
// After an error of Next, whichever it was, FindClose goes on with Next's rest and
// then with what is read. A server that fails the connection for a reason of its
// own may call it in any state of the decoder, with what Next has not eaten. The
// first call gives back all buffers and forgets the unfinished message. After it
// only FindClose and Reset may be called, and Idle, Buffered and Taken, which
// change nothing.
//
// found is true once the header of a frame with opcode 8 is whole, however bad
// that frame is, and stays true. Its payload may still be to come. The close frame
// that Next has refused counts, and so does one of which Next has taken the header
// and not yet the end: the first call finds them, even with an empty in. One that
// Next has given does not count.
//
// FindClose skips other frames by the length they claim, whether they are allowed
// or not. A frame of 2^63 bytes or more (section 5.2 forbids it) never ends, so
// nothing is found behind it.
//
// It allocates nothing, and a frame costs the same whatever its length.
func (d *Decoder) FindClose(in []byte) (found bool) {
	d.freeBuffers()
	d.failed = true
	for {
		if d.inFrame {
			if d.opcode == Close {
				return true
			}
			n := min(int64(len(in)), d.left)
			in = in[n:]
			d.left -= n
			d.inFrame = d.left > 0
		}
		if len(in) == 0 {
			return false
		}
		in = in[d.skipHeader(in):]
	}
}

// skipHeader is readHeader without its checks. It also goes on with a header of
// which readHeader has kept the beginning.
func (d *Decoder) skipHeader(in []byte) (n int) {
	head, kept := in, int(d.headLen)
	if kept > 0 {
		head = d.head[:kept+copy(d.head[kept:], in)]
	}
	length, size := measure(head)
	if len(head) < size {
		d.headLen = uint8(copy(d.head[:], head))
		return len(in)
	}
	d.headLen = 0
	d.inFrame, d.opcode, d.left = true, Opcode(head[0]&bitsOpcode), length
	return size - kept
}

// measure gives the payload length and the size of the header at b's beginning,
// allowed or not, masked or not. While b is shorter than size, both are the least
// they can become. A length of 2^63 and more becomes one that no peer ever ends
// either.
func measure(b []byte) (length int64, size int) {
	if len(b) < 2 {
		return 0, 2
	}
	size = headerSize(b)
	low := uint64(b[1] &^ bitMask)
	if size > 2 {
		low, _ = lengthBounds(b[2:], size-2)
	}
	if b[1]&bitMask != 0 {
		size += maskLen
	}
	return int64(min(low, math.MaxInt64)), size
}

// fail is how Next returns an error when it has eaten n bytes of in. It is kept
// out of Next, and slices in itself, so that Next's code for a good message stays
// as it would be without it.
//
//go:noinline
func (d *Decoder) fail(in []byte, n int, err error) (Message, []byte, error) {
	d.freeBuffers()
	d.failed = true
	return Message{}, in[n:], err
}

// freeBuffers gives back all buffers, and so the unfinished message.
func (d *Decoder) freeBuffers() {
	d.unfinished.Free()
	d.control.Free()
	if d.inflating != nil {
		d.inflating.free()
	}
	d.unfinished, d.control, d.inflating = nil, nil, nil
}
