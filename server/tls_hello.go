package server

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/tlsrecord"
	"github.com/millrace/millrace/ws"
)

// A connection of a TLS listener has no tls.Conn and no goroutine before its
// peer's ClientHello is whole. That may be spread over records of any size from a
// byte on (RFC 8446 section 5.1), so they are taken apart as they come: each byte is
// looked at once, the message alone is kept, and what can not become one ends the
// connection with its first wrong byte.

const (
	// maxHello bounds a ClientHello in bytes. Browsers send 2 KB today, a ticket that
	// holds a chain of client certificates some more.
	maxHello = 32 << 10
	// minHello is the least that RFC 5246 section 7.4.1.2 allows.
	minHello = 2 + 32 + 1 + 4 + 2
)

// helloScanner is where an unfinished ClientHello stands within its records.
type helloScanner struct {
	left uint16 // bytes of the record at hand that are to come
	have uint8  // bytes of its header that have come, while left is 0
	high uint8  // half of the header's length
}

// consumeHello takes the ClientHello from in, and begins the handshake with it and all
// that is there.
func (c *Conn) consumeHello(w *worker, in []byte) (rest []byte) {
	if len(in) == 0 {
		return nil
	}
	w.received.bytes -= len(in) // what is counted is what TLS carries
	p := c.in
	if p == nil || p.head == nil {
		p = &inbound{head: buffer.Get(min(len(in), 2048))} // most are whole now
	}
	behind, whole, err := p.consumeHello(in)
	switch {
	case err != nil:
		c.helloFailed(err)
	case whole:
		c.beginHandshake(w, p.head.B, behind)
	default:
		kept := c.ensureInbound()
		kept.head, kept.hello = p.head, p.hello
		return nil
	}
	if p != c.in {
		p.head.Free()
	}
	c.dropInbound()
	return nil
}

// helloFailed ends a connection that does not begin with a ClientHello.
func (c *Conn) helloFailed(err error) {
	c.loop.counters.tlsFailed.Add(1)
	if err == errHTTP {
		c.refuse(refuseHTTP)
	} else {
		c.end(err, endNow)
	}
}

// turnDown ends a connection that is one too many for its client, which may be known
// though the connection does not stand for it. Without a TLS handshake the peer can read
// no answer.
func (c *Conn) turnDown(client netip.AddrPort, refusal error) {
	if c.stateNow() == stateSecure {
		c.end(refusal, endNow)
		return
	}
	c.refuseFrom(client, nil, c.headSoFar(), refusal)
}

var (
	errHTTP   = errors.New("server: plain HTTP on a TLS port")
	errNotTLS = &ws.CloseError{Code: ws.CodeAbnormal, Reason: "the first bytes are no TLS ClientHello"}

	refuseHTTP = &ws.Refusal{Status: http.StatusBadRequest, Reason: "client sent an HTTP request to an HTTPS server"}
)

// consumeHello adds in to the ClientHello that is p's head, and says whether that is
// whole: then behind is what came after it.
func (p *inbound) consumeHello(in []byte) (behind []byte, whole bool, err error) {
	h := &p.hello
	if h.have == 0 && len(p.head.B) == 0 && in[0] >= 'A' && in[0] <= 'Z' {
		return nil, false, errHTTP
	}
	for len(in) > 0 {
		if h.left == 0 {
			if err := h.eatHeader(in[0]); err != nil {
				return nil, false, err
			}
			in = in[1:]
			continue
		}
		n := min(int(h.left), len(in))
		p.head = p.head.Grow(n)
		p.head.B = append(p.head.B, in[:n]...)
		h.left -= uint16(n)
		in = in[n:]
		size, err := helloSize(p.head.B)
		switch {
		case err != nil:
			return nil, false, err
		case size > 0 && len(p.head.B)+int(h.left) > size: // it ends where a record does
			return nil, false, errNotTLS
		case len(p.head.B) == size:
			return in, true, nil
		}
	}
	return nil, false, nil
}

// eatHeader takes the next byte of a record's header. All versions count, as RFC
// 8446 section 5.1 has it; no other record may come between.
func (h *helloScanner) eatHeader(b byte) error {
	ok := true
	switch h.have++; h.have {
	case 1:
		ok = b == tlsrecord.Handshake
	case 2:
		ok = b == 3
	case 3:
		ok = b <= 4
	case 4:
		h.high = b
		ok = int(b)<<8 <= tlsrecord.MaxPlaintext
	default:
		h.have = 0
		h.left = uint16(h.high)<<8 | uint16(b)
		ok = h.left > 0 && h.left <= tlsrecord.MaxPlaintext
	}
	if !ok {
		return errNotTLS
	}
	return nil
}

// helloSize is the length of the ClientHello that m begins with, its header of four
// bytes included, or 0 while that is not whole.
func helloSize(m []byte) (int, error) {
	if m[0] != tlsrecord.ClientHello || len(m) > 1 && m[1] != 0 || len(m) > 2 && int(m[2])<<8 > maxHello {
		return 0, errNotTLS
	}
	if len(m) < tlsrecord.MessageHeader {
		return 0, nil
	}
	n := int(m[2])<<8 | int(m[3])
	if n < minHello || n > maxHello {
		return 0, errNotTLS
	}
	return tlsrecord.MessageHeader + n, nil
}
