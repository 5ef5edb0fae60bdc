package ws

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	gobwas "github.com/gobwas/ws"
)

const (
	keyField     = "Sec-WebSocket-Key"
	versionField = "Sec-WebSocket-Version"
	keyLength    = 24 // 16 bytes in base64
)

// Response is what the application adds to the answer that accepts an upgrade.
// The zero value adds nothing.
type Response struct {
	// Subprotocol is one that the client offered, see
	// [Request.SelectSubprotocol]; "" chooses none.
	Subprotocol string
	// Header is sent along, except for the handshake's own fields, which are
	// an error.
	Header http.Header
}

// WantsUpgrade reports whether the request carries the token websocket in an
// Upgrade field: then it is WebSocket's business, and CheckUpgrade's to judge.
func (r *Request) WantsUpgrade() bool { return r.hasElement("Upgrade", "websocket") }

// CheckUpgrade reports whether the request opens a WebSocket by RFC 6455 section
// 4.2.1. If not, the error is a [*Refusal]: 405 for another method than GET, 505
// for HTTP/1.0, 426 for another version of the WebSocket protocol, else 400. It
// does not judge the Origin's value; extensions are not looked at, since a
// server may decline every offer, malformed or not (RFC 6455 section 9.1).
func (r *Request) CheckUpgrade() error {
	if refusal := r.checkUpgrade(); refusal != nil {
		return refusal
	}
	return nil
}

func (r *Request) checkUpgrade() *Refusal {
	switch {
	case string(r.method) != http.MethodGet:
		return refuseUpgradeMethod
	case r.http10:
		return refuseUpgradeHTTP10
	case r.hasBody:
		return refuseUpgradeBody // its bytes would be read as frames
	case !r.WantsUpgrade():
		return refuseNoUpgrade
	case !r.hasElement("Connection", "Upgrade"):
		return refuseNoConnection
	}
	if refusal := r.checkVersion(); refusal != nil {
		return refusal
	}
	if r.key() == nil {
		return refuseKey
	}
	if _, lines := r.first("Origin"); lines > 1 {
		return refuseOriginTwice
	}
	if !r.subprotocolsValid() {
		return refuseSubprotocol
	}
	return nil
}

func (r *Request) checkVersion() *Refusal {
	lines := 0
	for version := range r.each(versionField) {
		if string(version) != "13" {
			return refuseVersionUnknown
		}
		lines++
	}
	if lines != 1 {
		return refuseVersionAbsent
	}
	return nil
}

// key returns the client's key, or nil unless there is exactly one, of 16 bytes.
func (r *Request) key() []byte {
	key, lines := r.first(keyField)
	var nonce [keyLength]byte
	if lines != 1 || len(key) != keyLength {
		return nil
	}
	if n, err := base64.StdEncoding.Decode(nonce[:], key); err != nil || n != 16 {
		return nil
	}
	return key
}

// AppendUpgrade appends the 101 response that accepts r, which CheckUpgrade has
// passed. resp may be nil. No extension is taken. On an error, which is the
// caller's mistake and not the peer's, dst is returned as it was.
func AppendUpgrade(dst []byte, r *Request, resp *Response) ([]byte, error) {
	if resp == nil {
		resp = &noResponse
	}
	key := r.key()
	if key == nil {
		return dst, errors.New("ws: upgrade without a key")
	}
	if err := resp.check(r); err != nil {
		return dst, err
	}
	x, _ := exchanges.Get().(*exchange)
	if x == nil {
		x = &exchange{}
	}
	out, err := x.upgrade(dst, key, resp)
	*x = exchange{in: x.in[:0]}
	exchanges.Put(x)
	if err != nil {
		return dst, fmt.Errorf("ws: upgrade: %w", err)
	}
	return out, nil
}

var noResponse Response

func (resp *Response) check(r *Request) error {
	if p := resp.Subprotocol; p != "" && (!isToken([]byte(p)) || r.SelectSubprotocol(p) == "") {
		return fmt.Errorf("ws: subprotocol %q was not offered", p)
	}
	for name, values := range resp.Header {
		if ownName(name) {
			return fmt.Errorf("ws: response header %q is the handshake's own", name)
		}
		for _, value := range values {
			if !fieldAllowed(name, value) {
				return fmt.Errorf("ws: malformed response header %q: %q", name, value)
			}
		}
	}
	return nil
}

// exchange is the connection that gobwas/ws sees: it reads a canonical request
// and appends the answer to out.
type exchange struct {
	in   []byte
	read int
	out  []byte
}

var exchanges sync.Pool

// Read implements io.Reader.
func (x *exchange) Read(p []byte) (int, error) {
	if x.read == len(x.in) {
		return 0, io.EOF
	}
	n := copy(p, x.in[x.read:])
	x.read += n
	return n, nil
}

// Write implements io.Writer.
func (x *exchange) Write(p []byte) (int, error) {
	x.out = append(x.out, p...)
	return len(p), nil
}

// canonicalHead is all of an upgrade request that the answer does not depend
// on. gobwas/ws refuses some legal spellings of a request and accepts illegal
// ones, so it gets this in place of the peer's own bytes.
const canonicalHead = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	versionField + ": 13\r\n" + keyField + ": "

func (x *exchange) upgrade(dst, key []byte, resp *Response) ([]byte, error) {
	x.in = append(append(x.in, canonicalHead...), key...)
	x.in = append(x.in, "\r\n"...)
	var upgrader gobwas.Upgrader
	if resp.Subprotocol != "" {
		x.in = appendField(x.in, subprotocolField, resp.Subprotocol)
		upgrader.Protocol = takeOffer
	}
	x.in = append(x.in, "\r\n"...)
	if len(resp.Header) > 0 {
		upgrader.Header = gobwas.HandshakeHeaderHTTP(resp.Header)
	}
	x.out = dst
	_, err := upgrader.Upgrade(x)
	return x.out, err
}

// takeOffer accepts the one subprotocol that stands in the canonical head.
func takeOffer([]byte) bool { return true }
