package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

const (
	keyField     = "Sec-WebSocket-Key"
	acceptField  = "Sec-WebSocket-Accept"
	versionField = "Sec-WebSocket-Version"
	dateField    = "Date"
	keyLength    = 24                                     // 16 bytes in base64
	acceptLength = 28                                     // a SHA-1 sum in base64
	acceptGUID   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3
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
	// Date is the value of the 101's Date field, unless Header has one; "" sends
	// none.
	Date string
	// Deflate is what [Request.SelectDeflate] agreed to; the zero value takes no
	// extension.
	Deflate DeflateParams
}

// WantsUpgrade reports whether the request carries the token websocket in an
// Upgrade field, or is an extended CONNECT: then it is WebSocket's business, and
// CheckUpgrade's to judge. An Upgrade in an HTTP/1.0 request is to be ignored (RFC
// 9110 section 7.8).
func (r *Request) WantsUpgrade() bool {
	return r.ExtendedConnect || r.upgrade
}

// CheckUpgrade reports whether the request opens a WebSocket by RFC 6455 section
// 4.2.1. If not, the error is a [*Refusal]: 405 for another method than GET, 426
// for another version of the WebSocket protocol and for HTTP/1.0, else 400. It
// does not judge the Origin's value. Which extensions are offered does not matter,
// but a malformed list of them is refused (RFC 6455 section 9.1). For an
// extended CONNECT see RFC 8441 section 5: what is refused gets 400.
func (r *Request) CheckUpgrade() error {
	check := r.checkUpgrade
	if r.ExtendedConnect {
		check = r.checkConnect
	}
	if refusal := check(); refusal != nil {
		return refusal
	}
	return nil
}

func (r *Request) checkUpgrade() *Refusal {
	switch {
	case r.http10:
		return refusePlainHTTP
	case string(r.method) != http.MethodGet:
		return refuseUpgradeMethod
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
	return r.checkOffers()
}

// checkOffers checks what both forms of the handshake have in common.
func (r *Request) checkOffers() *Refusal {
	if len(r.host) == 0 {
		return refuseHostEmpty
	}
	if _, lines := r.first("Origin"); lines > 1 {
		return refuseOriginTwice
	}
	if !r.subprotocolsValid() {
		return refuseSubprotocol
	}
	if !r.extensionsValid() {
		return refuseExtensions
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
// passed. resp may be nil. On an error, which is the caller's mistake and not the
// peer's, dst is returned as it was.
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
	accept := acceptOf(key)
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+acceptField+": "...)
	dst = append(append(dst, accept[:]...), "\r\n"...)
	dst = appendDate(dst, resp.Date, resp.Header)
	if resp.Subprotocol != "" {
		dst = appendField(dst, subprotocolField, resp.Subprotocol)
	}
	if resp.Deflate.Agreed() {
		dst = resp.Deflate.append(dst)
	}
	if len(resp.Header) > 0 {
		dst = appendHeader(dst, resp.Header)
	}
	return append(dst, "\r\n"...), nil
}

// appendHeader appends all fields, sorted by their names.
func appendHeader(dst []byte, h http.Header) []byte {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			dst = appendField(dst, name, value)
		}
	}
	return dst
}

var noResponse Response

func (resp *Response) check(r *Request) error {
	if p := resp.Subprotocol; p != "" && (!isToken([]byte(p)) || r.SelectSubprotocol(p) == "") {
		return fmt.Errorf("ws: subprotocol %q was not offered", p)
	}
	if d := resp.Deflate; d.Agreed() && !d.valid() {
		return errDeflateParams
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

// acceptOf is the Sec-WebSocket-Accept that answers key (RFC 6455 section 4.2.2).
// gobwas/ws keeps its own to itself.
func acceptOf[T string | []byte](key T) (accept [acceptLength]byte) {
	var buf [keyLength + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}
