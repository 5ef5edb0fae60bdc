package server

import (
	"errors"
	"net/http"

	"github.com/millrace/millrace/ws"
)

// A connection of a TLS listener has no tls.Conn and no goroutine before its
// peer's first record, which holds the ClientHello, is whole.

// eatHello takes the first record from in, and begins the handshake with all that
// is there.
func (c *Conn) eatHello(w *worker, in []byte) (rest []byte) {
	w.received.bytes -= len(in) // what is counted is what TLS carries
	if c.in != nil && c.in.head != nil {
		c.in.head = c.in.head.Grow(len(in))
		c.in.head.B = append(c.in.head.B, in...)
		in = c.in.head.B
	}
	switch whole, err := checkHello(in); {
	case err == errHTTP:
		c.loop.counters.tlsFailed.Add(1)
		c.refuse(refuseHTTP)
	case err != nil:
		c.loop.counters.tlsFailed.Add(1)
		c.end(err, endNow)
	case whole:
		c.beginHandshake(w, in)
		c.dropHello()
	case len(in) > 0:
		c.keepHead(ws.HeadScanner{}, in)
	}
	return nil
}

// dropHello gives back the buffer of the first record.
func (c *Conn) dropHello() {
	c.dropInbound()
}

// turnDown ends a connection that is one too many. Without a TLS handshake the
// peer can read no answer.
func (c *Conn) turnDown(refusal error) {
	if c.lifeNow() == lifeSecure {
		c.end(refusal, endNow)
	} else {
		c.refuse(refusal)
	}
}

var (
	errHTTP   = errors.New("server: plain HTTP on a TLS port")
	errNotTLS = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "the first bytes are no TLS handshake"}

	refuseHTTP = &ws.Refusal{Status: http.StatusBadRequest, Reason: "client sent an HTTP request to an HTTPS server"}
)

// checkHello says whether b begins with a whole record that may hold a
// ClientHello (RFC 8446 section 5.1). What can not become one is an error with
// its first wrong byte.
func checkHello(b []byte) (whole bool, err error) {
	if len(b) > 0 && b[0] >= 'A' && b[0] <= 'Z' {
		return false, errHTTP
	}
	for i, ok := range [...]func(byte) bool{
		func(b byte) bool { return b == recordHandshake },
		func(b byte) bool { return b == 3 },
		func(b byte) bool { return b <= 4 },
	} {
		if i < len(b) && !ok(b[i]) {
			return false, errNotTLS
		}
	}
	if len(b) < recordHeader {
		return false, nil
	}
	if n := int(b[3])<<8 | int(b[4]); n == 0 || n > maxPlaintext {
		return false, errNotTLS
	}
	if len(b) > recordHeader && b[recordHeader] != clientHello {
		return false, errNotTLS
	}
	return recordSize(b) <= len(b), nil
}
