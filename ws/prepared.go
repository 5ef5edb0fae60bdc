package ws

// Prepared is a message that has been framed once, to be sent to many. It never
// changes and is safe for use from any goroutine.
type Prepared struct {
	frame  []byte
	header int // bytes of frame in front of the payload
}

// Prepare frames a copy of payload.
func Prepare(op Opcode, payload []byte) *Prepared {
	frame := AppendHeader(make([]byte, 0, maxHeader-maskLen+len(payload)), op, true, len(payload))
	p := &Prepared{header: len(frame)}
	frame = append(frame, payload...)
	p.frame = frame[:len(frame):len(frame)]
	return p
}

// Frame gives the bytes to send; they must not be changed.
func (p *Prepared) Frame() []byte { return p.frame }

// Opcode gives the message's opcode.
func (p *Prepared) Opcode() Opcode { return Opcode(p.frame[0] &^ bitFin) }

// Len gives the length of the payload in bytes.
func (p *Prepared) Len() int { return len(p.frame) - p.header }
