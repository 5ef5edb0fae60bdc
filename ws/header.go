package ws

import (
	"math"

	gobwas "github.com/gobwas/ws"
)

var (
	errLength    = &CloseError{Code: CodeProtocolError, Reason: "malformed frame length"}
	errTooBig    = &CloseError{Code: CodeTooBig, Reason: "message over the limit"}
	errManyEmpty = &CloseError{Code: CodePolicy, Reason: "too many empty fragments"}
	errHeader    = &CloseError{Code: CodeProtocolError, Reason: "malformed frame header"}
)

// headerErrors has the errors of gobwas's CheckHeader, as ours.
var headerErrors = map[error]*CloseError{
	gobwas.ErrProtocolOpCodeReserved:         {Code: CodeProtocolError, Reason: "reserved opcode"},
	gobwas.ErrProtocolControlPayloadOverflow: {Code: CodeProtocolError, Reason: "control frame over 125 bytes"},
	gobwas.ErrProtocolControlNotFinal:        {Code: CodeProtocolError, Reason: "fragmented control frame"},
	gobwas.ErrProtocolNonZeroRsv:             {Code: CodeProtocolError, Reason: "reserved bit set"},
	gobwas.ErrProtocolMaskRequired:           {Code: CodeProtocolError, Reason: "frame without mask"},
	gobwas.ErrProtocolContinuationExpected:   {Code: CodeProtocolError, Reason: "new message inside a fragmented one"},
	gobwas.ErrProtocolContinuationUnexpected: {Code: CodeProtocolError, Reason: "continuation of no message"},
}

// readHeader eats a frame header from in and then sets inFrame; or, if its end
// is not there yet, keeps what there is of it.
func (d *Decoder) readHeader(in []byte) (n int, err error) {
	head, kept := in, int(d.headLen)
	if kept > 0 {
		head = d.head[:kept+copy(d.head[kept:], in)]
	}
	size, err := d.parseHeader(head)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		d.headLen = uint8(copy(d.head[:], head))
		return len(in), nil
	}
	d.headLen = 0
	return size - kept, nil
}

// parseHeader parses the header at b's beginning and gives its size, or 0 if
// there is more to come, and no error in what is there.
func (d *Decoder) parseHeader(b []byte) (size int, err error) {
	if err := d.checkStart(b); err != nil {
		return 0, err
	}
	if len(b) < 2 {
		return 0, nil
	}
	length, end, err := d.parseLength(b)
	if err != nil {
		return 0, err
	}
	size = end + maskLen
	if len(b) < size {
		return 0, nil
	}
	d.mask = [4]byte(b[end:size])
	d.startFrame(b[0], length)
	return size, nil
}

// checkStart vets the first two bytes, or the first while it is the only one.
// CheckHeader sees the length code for the length: above 125 is the same to it.
func (d *Decoder) checkStart(b []byte) error {
	reserved := b[0] & bitsReserved
	if d.Deflate && mayCompress(Opcode(b[0]&bitsOpcode)) {
		reserved &^= bitCompressed
	}
	h := gobwas.Header{
		Fin:    b[0]&bitFin != 0,
		Rsv:    reserved >> 4,
		OpCode: gobwas.OpCode(b[0] & 0x0f),
		Masked: true,
	}
	if len(b) > 1 {
		h.Masked = b[1]&bitMask != 0
		h.Length = int64(b[1] &^ bitMask)
	}
	state := gobwas.StateServerSide
	if d.message != 0 {
		state |= gobwas.StateFragmented
	}
	err := gobwas.CheckHeader(h, state)
	if err == nil {
		return nil
	}
	if known := headerErrors[err]; known != nil {
		return known
	}
	return errHeader
}

// parseLength gives the payload length and where in the header it ends. While
// some of its bytes are missing, the length is the least it can become.
func (d *Decoder) parseLength(b []byte) (length int64, end int, err error) {
	low := uint64(b[1] &^ bitMask)
	high, least := low, uint64(0)
	end = 2
	switch low {
	case length16:
		end, least = 4, length16
		low, high = lengthBounds(b[2:], 2)
	case length64:
		end, least = 10, math.MaxUint16+1
		low, high = lengthBounds(b[2:], 8)
	}
	if low > math.MaxInt64 || high < least {
		return 0, 0, errLength
	}
	return int64(low), end, d.checkLimits(b[0], int64(low), high == 0)
}

// checkLimits refuses a frame that would take its message over a limit; first is
// its first byte.
func (d *Decoder) checkLimits(first byte, length int64, empty bool) error {
	op, compressed, before := Opcode(first&bitsOpcode), first&bitCompressed != 0, int64(0)
	if op == Continuation {
		compressed, before = d.compressed, d.size
	}
	switch {
	case op.control():
		return nil
	case length > d.maxBytes(compressed)-before:
		return errTooBig
	case op == Continuation && empty && d.empty >= d.maxEmptyFragments():
		return errManyEmpty
	}
	return nil
}

// lengthBounds gives the least and the greatest number that the n bytes at b's
// beginning, of which some may be missing, can be.
func lengthBounds(b []byte, n int) (low, high uint64) {
	for i := range n {
		low, high = low<<8, high<<8
		if i < len(b) {
			low |= uint64(b[i])
			high |= uint64(b[i])
		} else {
			high |= 0xff
		}
	}
	return low, high
}

// startFrame begins a frame with this first byte.
func (d *Decoder) startFrame(first byte, length int64) {
	op := Opcode(first & bitsOpcode)
	d.inFrame = true
	d.opcode, d.fin, d.left, d.phase = op, first&bitFin != 0, length, 0
	if op.control() {
		return
	}
	if op != Continuation {
		d.message, d.text, d.empty, d.size = op, utf8Checker{}, 0, 0
		d.compressed = first&bitCompressed != 0
	}
	d.size += length
	if length == 0 {
		d.empty++
	}
}

func (d *Decoder) maxMessage() int64 {
	if d.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return d.MaxMessage
}

// maxBytes is how many bytes the frames of a message may have. Compressed ones,
// which may be more than what they stand for (9 bits for a byte in the fixed
// Huffman code, and what each flush adds), have an eighth more and a little.
func (d *Decoder) maxBytes(compressed bool) int64 {
	limit := d.maxMessage()
	if compressed {
		return limit + min(limit/8+1<<10, math.MaxInt64-limit)
	}
	return limit
}

func (d *Decoder) maxEmptyFragments() int {
	if d.MaxEmptyFragments <= 0 {
		return DefaultMaxEmptyFragments
	}
	return d.MaxEmptyFragments
}
