package ws

import (
	"errors"
	"strconv"
)

const (
	deflateName = "permessage-deflate"

	paramServerNoTakeover = "server_no_context_takeover"
	paramClientNoTakeover = "client_no_context_takeover"
	paramServerBits       = "server_max_window_bits"
	paramClientBits       = "client_max_window_bits"

	minWindowBits = 8
	maxWindowBits = 15
)

// DeflateParams is what two peers have agreed upon for permessage-deflate (RFC
// 7692 section 7.1), or what a client offers. Values may be compared.
type DeflateParams struct {
	// ServerNoContextTakeover: the server compresses each message by itself, so
	// the client need not keep what came before. ClientNoContextTakeover is the
	// same in the other direction.
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool
	// ServerMaxWindowBits bounds the LZ77 window that the server compresses with
	// to 2^bits bytes; ClientMaxWindowBits the client's. 8 to 15; 0 in an offer:
	// the parameter is not sent.
	ServerMaxWindowBits int
	ClientMaxWindowBits int

	// The answer names window bits which the offer named, even those that bound
	// nothing, and others only if they bound something.
	namesServerBits, namesClientBits bool
}

// Agreed reports whether the extension is in use at all.
func (p DeflateParams) Agreed() bool { return p.ServerMaxWindowBits != 0 }

// DeflatePolicy is what a server agrees to. The zero value agrees to every valid
// offer, without context takeover in either direction.
type DeflatePolicy struct {
	// ServerTakeover keeps the server's context from message to message, unless
	// the client offers server_no_context_takeover. ClientTakeover lets the
	// client keep its, unless it offers client_no_context_takeover.
	ServerTakeover, ClientTakeover bool
	// ServerMaxWindowBits bounds the server's window to 2^bits bytes. 0 is 15.
	ServerMaxWindowBits int
	// ClientMaxWindowBits bounds the client's, if the client can be told so: one
	// that does not offer client_max_window_bits must not be (RFC 7692 section
	// 7.1.2.2), and gets no context takeover instead. 0 is 15. Below 9 counts as
	// 9: zlib, which most clients use, can not compress with 8.
	ClientMaxWindowBits int
}

// SelectDeflate answers the client's offers of permessage-deflate, for
// [Response.Deflate]: the first valid one is taken. Not Agreed means that there
// is none. An offer with an unknown or repeated parameter, or a value that is not
// as RFC 7692 section 7.1 says (8 to 15 without a leading zero or quotes), is
// passed over; if any line of the field is malformed, which CheckUpgrade refuses,
// all offers are. It allocates nothing, and takes time linear in the field.
func (r *Request) SelectDeflate(policy DeflatePolicy) (agreed DeflateParams) {
	for list := range r.each(extensionsField) {
		for len(list) > 0 {
			name, params, rest, ok := cutExtension(list)
			if !ok {
				return DeflateParams{}
			}
			list = rest
			if agreed.Agreed() || !equalFold(name, deflateName) {
				continue
			}
			if offer, ok := parseDeflate(params); ok {
				agreed = policy.answer(offer)
			}
		}
	}
	return agreed
}

// deflateOffer is the parameters of one offer or answer. client_max_window_bits
// without a value has 15 bits.
type deflateOffer struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int // 0: not there
	clientBitsBare                     bool
}

// parseDeflate reads what cutExtension gives; ok is false for what makes an
// offer invalid.
func parseDeflate(params []byte) (o deflateOffer, ok bool) {
	for len(params) > 0 {
		var p extensionParam
		if p, params, ok = cutExtensionParam(params); !ok || !o.add(p) {
			return o, false
		}
	}
	return o, true
}

// add is false for a parameter that is unknown, repeated or has a wrong value.
func (o *deflateOffer) add(p extensionParam) (ok bool) {
	seen := false
	switch {
	case equalFold(p.name, paramServerNoTakeover):
		seen, o.serverNoTakeover, ok = o.serverNoTakeover, true, p.value == nil
	case equalFold(p.name, paramClientNoTakeover):
		seen, o.clientNoTakeover, ok = o.clientNoTakeover, true, p.value == nil
	case equalFold(p.name, paramServerBits):
		seen = o.serverBits > 0
		o.serverBits, ok = p.windowBits()
	case equalFold(p.name, paramClientBits):
		seen = o.clientBits > 0
		if o.clientBitsBare = p.value == nil; o.clientBitsBare {
			o.clientBits, ok = maxWindowBits, true
		} else {
			o.clientBits, ok = p.windowBits()
		}
	}
	return ok && !seen
}

// windowBits reads 8 to 15 without a leading zero. Quotes, which RFC 6455
// section 9.1 would allow around any value, are no decimal integer either.
func (p extensionParam) windowBits() (bits int, ok bool) {
	n, ok := parseDecimal(p.value, maxWindowBits)
	if !ok || p.quoted || n < minWindowBits || p.value[0] == '0' {
		return 0, false
	}
	return int(n), true
}

// answer is RFC 7692 section 7.1 from the server's side.
func (policy DeflatePolicy) answer(o deflateOffer) DeflateParams {
	serverBits, clientBits := windowBits(policy.ServerMaxWindowBits), max(windowBits(policy.ClientMaxWindowBits), minWindowBits+1)
	p := DeflateParams{
		ServerNoContextTakeover: o.serverNoTakeover || !policy.ServerTakeover,
		ClientNoContextTakeover: o.clientNoTakeover || !policy.ClientTakeover || o.clientBits == 0 && clientBits < maxWindowBits,
		ServerMaxWindowBits:     serverBits,
		ClientMaxWindowBits:     maxWindowBits,
	}
	if o.serverBits > 0 {
		p.ServerMaxWindowBits = min(serverBits, o.serverBits)
	}
	if o.clientBits > 0 {
		p.ClientMaxWindowBits = min(clientBits, o.clientBits)
	}
	p.namesServerBits = o.serverBits > 0 || p.ServerMaxWindowBits < maxWindowBits
	p.namesClientBits = p.ClientMaxWindowBits < maxWindowBits
	return p
}

// windowBits is a bound as a user sets it: 0 is 15, the rest as it can be.
func windowBits(bits int) int {
	if bits == 0 {
		return maxWindowBits
	}
	return min(max(bits, minWindowBits), maxWindowBits)
}

var errDeflateParams = errors.New("ws: deflate parameters are not those of SelectDeflate")

// valid reports whether p can be an answer.
func (p DeflateParams) valid() bool {
	return p.ServerMaxWindowBits == windowBits(p.ServerMaxWindowBits) && p.ClientMaxWindowBits == windowBits(p.ClientMaxWindowBits)
}

// append appends the field that says p.
func (p DeflateParams) append(dst []byte) []byte {
	dst = p.appendValue(append(dst, extensionsField+": "...))
	return append(dst, "\r\n"...)
}

func (p DeflateParams) appendValue(dst []byte) []byte {
	dst = append(dst, deflateName...)
	if p.ServerNoContextTakeover {
		dst = append(dst, "; "+paramServerNoTakeover...)
	}
	if p.ClientNoContextTakeover {
		dst = append(dst, "; "+paramClientNoTakeover...)
	}
	if p.namesServerBits {
		dst = append(dst, "; "+paramServerBits+"="...)
		dst = strconv.AppendInt(dst, int64(p.ServerMaxWindowBits), 10)
	}
	if p.namesClientBits {
		dst = append(dst, "; "+paramClientBits+"="...)
		dst = strconv.AppendInt(dst, int64(p.ClientMaxWindowBits), 10)
	}
	return dst
}
