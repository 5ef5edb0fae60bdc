package ws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Opcode says what a frame carries (RFC 6455, 5.2).
type Opcode byte

// The opcodes in use; all others are reserved.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// String gives the opcode's name, or its number if it is reserved.
func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "opcode " + strconv.Itoa(int(o))
}

// control says whether frames of this opcode stand alone between the fragments
// of a message (RFC 6455, 5.5).
func (o Opcode) control() bool { return o >= Close }

// Message is what a Decoder gives: a whole message, a piece of one if
// Decoder.Stream is set, or a control frame.
type Message struct {
	// Opcode is Text or Binary, or Ping, Pong or Close. 0 means that there is
	// no message yet.
	Opcode Opcode

	// More says that further pieces of this message follow. Only with
	// Decoder.Stream.
	More bool

	// Compressed is how many bytes the whole message had before it was inflated, 0
	// if it came as it is. Its size is measured: with 8 bytes the Message no
	// longer travels in registers, 5 ns each time.
	Compressed uint32

	// Payload is the unmasked content. It aliases the bytes given to
	// Decoder.Next or the decoder's own buffer, and is valid until the next
	// call of any method of the decoder other than Idle, Buffered and Taken.
	Payload []byte
}

// Clone returns a Message with its own copy of the payload, which may be kept.
func (m Message) Clone() Message {
	m.Payload = bytes.Clone(m.Payload)
	return m
}

// JSON decodes the payload, which is in JSON, into what v points to (encoding/json).
func (m Message) JSON(v any) error {
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return fmt.Errorf("ws: message of %d bytes: %w", len(m.Payload), err)
	}
	return nil
}
