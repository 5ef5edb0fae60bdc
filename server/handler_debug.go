package server

import (
	"bytes"
	"unicode/utf8"

	"github.com/millrace/millrace/ws"
)

// # Debug
//
// Two mistakes of handlers go unnoticed for long: a payload that is kept shows
// another message's bytes one day, and a text that is not UTF-8 fails in a client.
// With Server.Runtime.Debug both show at once.

// poison is what stands in a payload that is not valid any more.
const poison = "millrace: this payload was kept beyond its handler. "

// spoil overwrites a payload whose handler has returned.
func (s *Server) spoil(payload []byte) {
	if s.Runtime.Debug {
		copy(payload, bytes.Repeat([]byte(poison), len(payload)/len(poison)+1))
	}
}

// checkText says whether a message may be sent, as far as it is checked.
func (s *Server) checkText(op ws.Opcode, payload []byte) error {
	if s.Runtime.Debug && op == ws.Text && !utf8.Valid(payload) {
		return ErrNotUTF8
	}
	return nil
}
