package ws

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Code is the status code of a close frame (RFC 6455, 7.4).
type Code uint16

// The registered codes. CodeNoStatus and CodeAbnormal never stand in a frame:
// they tell the application that the peer gave no code, or no close frame.
const (
	CodeNormal             Code = 1000
	CodeGoingAway          Code = 1001
	CodeProtocolError      Code = 1002
	CodeUnsupported        Code = 1003
	CodeNoStatus           Code = 1005
	CodeAbnormal           Code = 1006
	CodeInvalidPayload     Code = 1007
	CodePolicy             Code = 1008
	CodeTooBig             Code = 1009
	CodeMandatoryExtension Code = 1010
	CodeInternal           Code = 1011
	CodeServiceRestart     Code = 1012
	CodeTryAgainLater      Code = 1013
	CodeBadGateway         Code = 1014
)

// maxControl is the longest payload of a control frame, in bytes (RFC 6455,
// 5.5); a close reason has two less, for the code.
const (
	maxControl = 125
	maxReason  = maxControl - 2
)

var codeNames = map[Code]string{
	CodeNormal:             "normal",
	CodeGoingAway:          "going away",
	CodeProtocolError:      "protocol error",
	CodeUnsupported:        "unsupported data",
	CodeNoStatus:           "no status",
	CodeAbnormal:           "abnormal",
	CodeInvalidPayload:     "invalid payload",
	CodePolicy:             "policy violation",
	CodeTooBig:             "message too big",
	CodeMandatoryExtension: "mandatory extension",
	CodeInternal:           "internal error",
	CodeServiceRestart:     "service restart",
	CodeTryAgainLater:      "try again later",
	CodeBadGateway:         "bad gateway",
}

// String gives the number and, if the code is registered, its meaning.
func (c Code) String() string {
	if name := codeNames[c]; name != "" {
		return fmt.Sprintf("%d (%s)", uint16(c), name)
	}
	return fmt.Sprintf("%d", uint16(c))
}

// Sendable reports whether the code may stand in a close frame: 1000-1003,
// 1007-1014 (RFC 6455, 7.4.1 and the IANA registry) and 3000-4999 (7.4.2).
func (c Code) Sendable() bool {
	switch {
	case c >= CodeNormal && c <= CodeUnsupported,
		c >= CodeInvalidPayload && c <= CodeBadGateway,
		c >= 3000 && c <= 4999:
		return true
	}
	return false
}

// CloseError says why a connection ended or has to end. It is the error of
// Decoder.Next, whose values are shared by all decoders and must not be changed.
type CloseError struct {
	Code   Code
	Reason string
	Remote bool // the peer's close frame said so
}

// Error gives the code, its meaning, the reason, and whose they are.
func (e *CloseError) Error() string {
	text := "ws: closed: "
	if e.Remote {
		text = "ws: closed by the peer: "
	}
	text += e.Code.String()
	if e.Reason != "" {
		text += fmt.Sprintf(" %q", e.Reason)
	}
	return text
}

// ParseClose splits the payload of a close frame that a Decoder gave. An empty
// one has CodeNoStatus. The reason is a copy.
func ParseClose(payload []byte) (Code, string) {
	if len(payload) < 2 {
		return CodeNoStatus, ""
	}
	return Code(binary.BigEndian.Uint16(payload)), string(payload[2:])
}

var (
	errCloseLength = &CloseError{Code: CodeProtocolError, Reason: "close frame with one byte"}
	errCloseCode   = &CloseError{Code: CodeProtocolError, Reason: "close code not allowed in a frame"}
	errCloseReason = &CloseError{Code: CodeInvalidPayload, Reason: "close reason is not UTF-8"}
)

// checkClose vets a close frame's payload. gobwas's CheckCloseFrameData is not
// used: it refuses 1012 and accepts 5000.
func checkClose(payload []byte) error {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1:
		return errCloseLength
	case !Code(binary.BigEndian.Uint16(payload)).Sendable():
		return errCloseCode
	case !validUTF8(payload[2:]):
		return errCloseReason
	}
	return nil
}

// AppendClose appends a close frame. A code that must not stand in a frame
// (CodeNoStatus, CodeAbnormal, 1015, ...) gives one with an empty payload, which
// the peer reads as CodeNoStatus. The reason is cut, at a rune, to the 123
// bytes there is room for; bytes that are not UTF-8 become U+FFFD.
func AppendClose(dst []byte, code Code, reason string) []byte {
	if !code.Sendable() {
		return AppendHeader(dst, Close, true, 0)
	}
	start := len(dst)
	dst = AppendHeader(dst, Close, true, 2)
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	room := len(dst) + maxReason
	for _, r := range reason {
		if len(dst)+utf8.RuneLen(r) > room {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}
