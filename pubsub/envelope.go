package pubsub

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/millrace/millrace/ws"
)

// envelope is a message with what there is to know of it. docs/envelope.schema.json specifies it.
type envelope struct {
	Topic    string  `json:"topic"`
	Position string  `json:"position,omitempty"`
	Kept     *bool   `json:"kept,omitempty"` // false, or nothing
	Time     string  `json:"time"`
	Data     *string `json:"data,omitempty"`
	Binary   *[]byte `json:"binary,omitempty"`
}

// timeForm is RFC 3339 with milliseconds, in UTC.
const timeForm = "2006-01-02T15:04:05.000Z"

// Envelope is a message as JSON, with its topic, position and time: what connections that ask for envelopes
// (server.Accept.Enveloped) get in its place. kept: it is in the history.
func Envelope(m Message, kept bool) []byte {
	e := envelope{Topic: m.Topic, Position: m.Position.String(), Time: m.Time.UTC().Format(timeForm)}
	if !kept {
		e.Kept = new(bool)
	}
	if m.Opcode == ws.Binary {
		if m.Payload == nil {
			m.Payload = []byte{} // not null
		}
		e.Binary = &m.Payload
	} else {
		text := string(m.Payload)
		e.Data = &text
	}
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	to.SetEscapeHTML(false)
	_ = to.Encode(e) // texts are UTF-8
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// wrapping is what the envelope of a message says besides its payload.
type wrapping struct {
	topic    string
	position Position
	time     time.Time
	kept     bool
	message  *ws.Prepared
}

// envelope makes it.
func (w *wrapping) envelope() []byte {
	m := Message{Topic: w.topic, Payload: w.message.Payload(), Opcode: w.message.Opcode(), Position: w.position, Time: w.time}
	return Envelope(m, w.kept)
}

// prepare frames a message, and says how it is in an envelope and in an event stream.
func prepare(m Message, kept bool) *ws.Prepared {
	w := &wrapping{m.Topic, m.Position, m.Time, kept, nil}
	if m.Time.IsZero() {
		w.time = time.Now()
	}
	o := ws.PrepareOptions{Envelope: w.envelope}
	if kept {
		o.ID = m.Position.String()
	}
	w.message = ws.PrepareWith(m.Opcode, m.Payload, o)
	return w.message
}
