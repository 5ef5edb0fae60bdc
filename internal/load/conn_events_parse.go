package load

import (
	"bytes"
	"errors"
	"math"
)

// # Event streams, parsed as they arrive
//
// A body in chunks (RFC 9112 section 7.1) becomes bytes, and bytes become parts of events
// (WHATWG HTML, "Server-sent events"). Both may be cut at any byte. Nothing is copied or
// gathered but the beginnings of lines.

// chunkPlace is where in a chunked body the next byte is.
type chunkPlace uint8

const (
	chunkSize chunkPlace = iota
	chunkRest            // of the size's line
	chunkData
	chunkEnd // CRLF behind the data
	chunkTrailer
	chunksEnded
)

// maxChunkLine bounds what is around the data of a chunk, and of the last one all that
// follows, in bytes.
const maxChunkLine = 16 << 10

var errChunk = errors.New("the body is not in chunks")

// chunks is where in a chunked body a connection is.
type chunks struct {
	place  chunkPlace
	left   int64 // of the chunk's data
	digits uint8 // of its size so far
	around int   // bytes around data
	line   int   // bytes of a trailer's line
}

// next takes the beginning of what came, and gives what of it is data.
func (k *chunks) next(in []byte) (data, rest []byte, err error) {
	for len(in) > 0 && k.place != chunksEnded {
		if k.place == chunkData {
			n := int(min(int64(len(in)), k.left))
			if k.left -= int64(n); k.left == 0 {
				k.place = chunkEnd
			}
			return in[:n], in[n:], nil
		}
		if k.around++; k.around > maxChunkLine || !k.take(in[0]) {
			return nil, nil, errChunk
		}
		in = in[1:]
	}
	return nil, in, nil
}

// take takes a byte that is no data.
func (k *chunks) take(b byte) (ok bool) {
	switch k.place {
	case chunkSize:
		return k.takeSize(b)
	case chunkRest:
		if b == '\n' {
			k.begin()
		}
	case chunkEnd:
		if b == '\n' {
			*k = chunks{}
		} else if b != '\r' {
			return false
		}
	case chunkTrailer:
		switch {
		case b != '\n' && b != '\r':
			k.line++
		case b == '\n' && k.line == 0:
			k.place = chunksEnded
		case b == '\n':
			k.line = 0
		}
	}
	return true
}

// takeSize takes a byte of a chunk's size, or the one behind it.
func (k *chunks) takeSize(b byte) (ok bool) {
	digit := int64(0)
	switch {
	case b >= '0' && b <= '9':
		digit = int64(b - '0')
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		digit = int64(b|0x20-'a') + 10
	case k.digits == 0:
		return false
	case b == '\n':
		k.begin()
		return true
	case b == '\r' || b == ';' || b == ' ' || b == '\t':
		k.place = chunkRest
		return true
	default:
		return false
	}
	if k.left > math.MaxInt64>>4 || k.digits == math.MaxUint8 {
		return false
	}
	k.left = k.left<<4 | digit
	k.digits++
	return true
}

// begin begins the data of a chunk whose size is known. That of the last is 0.
func (k *chunks) begin() {
	k.place = chunkData
	if k.left == 0 {
		k.place, k.line = chunkTrailer, 0
	}
}

// linePlace is where in a line of an event stream the next byte is.
type linePlace uint8

const (
	inName  linePlace = iota // of a field, or at a line's begin
	atValue                  // of data; a space is not part of it
	inValue                  // of data
	inEvent                  // the value of event
	inOther                  // what is passed over
)

// eventPart is what comes next in an event stream.
type eventPart uint8

const (
	noPart   eventPart = iota
	dataPart           // of the event's data
	eventEnd           // of an event that had data; others are passed over
	lastEnd            // the same of an event that is called closeName
)

const (
	mark      = "\xef\xbb\xbf" // UTF-8's byte order mark, of which a stream may have one
	closeName = "close"        // of a server's last event, as of millrace
)

var lineFeed = []byte("\n")

// events is where in an event stream a connection is.
type events struct {
	place linePlace
	begun bool // the first line is over
	cr    bool // the byte before was a CR, which ended a line: an LF behind it belongs to it
	data  bool // the event has data
	last  bool // its name is closeName
	held  uint8
	text  [12]byte // of a name or an event's value, so far
}

// next takes the beginning of what came, and gives what it is: lines of data with a line
// feed between them, without one behind. With noPart there is no rest.
func (e *events) next(in []byte) (is eventPart, part, rest []byte) {
	for len(in) > 0 {
		if e.cr {
			e.cr = false
			if in[0] == '\n' {
				in = in[1:]
				continue
			}
		}
		switch e.place {
		case inName:
			is, part, in = e.inName(in)
		case atValue:
			if e.place = inValue; in[0] == ' ' {
				in = in[1:]
			}
			continue
		case inValue:
			part, in = e.cutLine(in)
			is = dataPart
		case inEvent:
			part, in = e.cutLine(in)
			e.hold(part)
			if e.place == inName {
				e.last, e.held = string(bytes.TrimPrefix(e.text[:e.held], []byte(" "))) == closeName, 0
			}
			continue
		case inOther:
			_, in = e.cutLine(in)
			continue
		}
		if is != noPart {
			return is, part, in
		}
	}
	return noPart, nil, nil
}

// inName takes a field's name, or a part of it.
func (e *events) inName(in []byte) (is eventPart, part, rest []byte) {
	for i, b := range in {
		if b != ':' && b != '\r' && b != '\n' {
			continue
		}
		e.hold(in[:i])
		name := e.text[:e.held]
		if !e.begun {
			name = bytes.TrimPrefix(name, []byte(mark))
		}
		if e.begun, e.held = true, 0; b == ':' {
			e.place = placeOf(name)
		} else {
			e.cr = b == '\r'
		}
		in = in[i+1:]
		switch {
		case string(name) == "data":
			if e.data {
				return dataPart, lineFeed, in
			}
			e.data = true
			return dataPart, nil, in
		case b != ':' && len(name) == 0:
			return e.end(), nil, in
		case b != ':' && string(name) == "event":
			e.last = false
		}
		return noPart, nil, in
	}
	e.hold(in)
	return noPart, nil, nil
}

// end ends an event.
func (e *events) end() (is eventPart) {
	switch {
	case e.data && e.last:
		is = lastEnd
	case e.data:
		is = eventEnd
	}
	e.data, e.last = false, false
	return is
}

// placeOf is where the value of a field is.
func placeOf(name []byte) linePlace {
	switch string(name) {
	case "data":
		return atValue
	case "event":
		return inEvent
	}
	return inOther
}

// hold keeps text as far as there is room: what is longer is no name that matters.
func (e *events) hold(text []byte) { e.held += uint8(copy(e.text[e.held:], text)) }

// cutLine takes what is there of a line, and its end.
func (e *events) cutLine(in []byte) (line, rest []byte) {
	end := bytes.IndexByte(in, '\n')
	if end < 0 {
		end = len(in)
	}
	if cr := bytes.IndexByte(in[:end], '\r'); cr >= 0 {
		end, e.cr = cr, true
	}
	if end == len(in) {
		return in, nil
	}
	e.place = inName
	return in[:end], in[end+1:]
}
