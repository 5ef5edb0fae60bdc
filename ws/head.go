package ws

// HeadLimits bounds a request head; a zero field means its default.
type HeadLimits struct {
	Bytes int // the whole head with its final empty line; default 16 KiB
	Lines int // the request line and the field lines; default 100
}

const (
	defaultHeadBytes = 16 << 10
	defaultHeadLines = 100
	maxMethod        = 32 // bytes; the longest registered one has 17
)

func (l HeadLimits) withDefaults() HeadLimits {
	if l.Bytes <= 0 {
		l.Bytes = defaultHeadBytes
	}
	if l.Lines <= 0 {
		l.Lines = defaultHeadLines
	}
	return l
}

// Where a HeadScanner stands: what the next byte belongs to.
type headState uint8

const (
	atStart       headState = iota // the first byte of all
	atEmptyLineLF                  // LF of the one empty line allowed before the request line
	atMethod                       // the first byte of the method
	inMethod
	inTarget
	inVersion
	inName
	inValue
	atLF        // LF behind a line's CR
	atLineStart // the first byte behind a line
	atEndLF     // LF of the final empty line
	atEnd
)

// keeps tells for each state the bytes that do not change it.
var keeps = [atEnd + 1]byteClass{
	inMethod: tokenByte,
	inTarget: targetByte,
	inName:   tokenByte,
	inValue:  valueByte,
}

// HeadScanner finds the end of an HTTP/1 request head whose bytes arrive in any
// split, and vets the syntax of RFC 9112 as it goes, so that garbage is refused
// at its first wrong byte. The zero value is ready; one is used for one head, by
// one goroutine at a time.
type HeadScanner struct {
	pos     int // bytes vetted so far
	lines   int32
	state   headState
	start   uint8 // where the request line begins: 0, or 2 behind an empty line
	version uint8 // bytes of the version seen
}

// Scan looks at head, which holds all bytes of the connection so far: the same
// prefix on every call. What was vetted is not looked at again, so the work is
// linear over all calls.
//
//   - end > 0: head[:end] is the whole head with its final empty line.
//   - end == 0 and err == nil: more bytes are needed.
//   - err is a [*Refusal]: 400 for a byte that cannot stand in a request head,
//     501 for a method of more than 32 bytes, 414 when the target has no end
//     within the limits, 431 when the head has none. A head of exactly the
//     limits is accepted. Further calls give the same error.
//
// One empty line before the request line is taken as part of the head (RFC 9112
// section 2.2). Lines end with CRLF, nothing else; folded lines are refused.
func (s *HeadScanner) Scan(head []byte, lim HeadLimits) (end int, err error) {
	lim = lim.withDefaults()
	if s.state == atEnd {
		return s.pos, nil
	}
	n := min(len(head), lim.Bytes)
	for s.pos < n {
		next := s.pos + keeps[s.state].run(head[s.pos:n])
		if s.state == inMethod && next-int(s.start) > maxMethod {
			return 0, refuseMethodLong
		}
		s.pos = next
		if s.pos == n {
			break
		}
		if refusal := s.step(head[s.pos], lim.Lines); refusal != nil {
			return 0, refusal
		}
		s.pos++
		if s.state == atEnd {
			return s.pos, nil
		}
	}
	switch {
	case s.pos < lim.Bytes:
		return 0, nil
	case s.state == inTarget:
		return 0, refuseTargetLong
	}
	return 0, refuseHeadLong
}

// step goes on with a byte that does not simply belong to where s stands.
func (s *HeadScanner) step(b byte, maxLines int) *Refusal {
	switch s.state {
	case atStart, atEmptyLineLF, atMethod, inMethod, inTarget, inVersion:
		return s.stepRequestLine(b)
	case inName:
		return s.expect(b, ':', inValue, refuseFieldName)
	case inValue:
		return s.expect(b, '\r', atLF, refuseFieldValue)
	case atLF:
		if b == '\n' {
			s.lines++
		}
		return s.expect(b, '\n', atLineStart, refuseLineEnd)
	case atLineStart:
		return s.stepLineStart(b, maxLines)
	default: // atEndLF
		return s.expect(b, '\n', atEnd, refuseLineEnd)
	}
}

func (s *HeadScanner) stepRequestLine(b byte) *Refusal {
	switch s.state {
	case atStart:
		if b == '\r' {
			s.state, s.start = atEmptyLineLF, 2
			return nil
		}
		return s.stepMethod(b)
	case atEmptyLineLF:
		return s.expect(b, '\n', atMethod, refuseLineEnd)
	case atMethod:
		return s.stepMethod(b)
	case inMethod:
		return s.expect(b, ' ', inTarget, refuseMethod)
	case inTarget:
		return s.expect(b, ' ', inVersion, refuseTarget)
	default: // inVersion
		return s.stepVersion(b)
	}
}

func (s *HeadScanner) stepMethod(b byte) *Refusal {
	if !tokenByte.has(b) {
		return refuseMethod
	}
	s.state = inMethod
	return nil
}

// versionForm is HTTP-version of RFC 9112 section 2.3; a 0 stands for any digit.
const versionForm = "HTTP/0.0"

func (s *HeadScanner) stepVersion(b byte) *Refusal {
	if int(s.version) == len(versionForm) {
		return s.expect(b, '\r', atLF, refuseVersionForm)
	}
	want := versionForm[s.version]
	if b != want && (want != '0' || !isDigit(b)) {
		return refuseVersionForm
	}
	s.version++
	return nil
}

func (s *HeadScanner) stepLineStart(b byte, maxLines int) *Refusal {
	switch {
	case b == '\r':
		s.state = atEndLF
	case int(s.lines) >= maxLines:
		return refuseHeadLines
	case b == ' ' || b == '\t':
		return refuseFolded
	case !tokenByte.has(b):
		return refuseFieldName
	default:
		s.state = inName
	}
	return nil
}

func (s *HeadScanner) expect(b, want byte, next headState, otherwise *Refusal) *Refusal {
	if b != want {
		return otherwise
	}
	s.state = next
	return nil
}
