package ws

import "iter"

const subprotocolField = "Sec-WebSocket-Protocol"

// offers ranges over the offered subprotocols: all lines are one list, in which
// empty elements mean nothing (RFC 6455 section 11.3.4, RFC 9110 section 5.6.1).
func (r *Request) offers() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for list := range r.each(subprotocolField) {
			for len(list) > 0 {
				var offer []byte
				if offer, list = cutElement(list); len(offer) > 0 && !yield(offer) {
					return
				}
			}
		}
	}
}

// Subprotocols returns the subprotocols that the client offers, the one it
// likes most first.
func (r *Request) Subprotocols() (offers []string) {
	for offer := range r.offers() {
		offers = append(offers, string(offer))
	}
	return offers
}

// SelectSubprotocol returns the first of the client's offers that is supported,
// or "". Letter case matters.
func (r *Request) SelectSubprotocol(supported ...string) string {
	for offer := range r.offers() {
		for _, s := range supported {
			if string(offer) == s {
				return s
			}
		}
	}
	return ""
}

// ValidSubprotocol reports whether name can be a subprotocol's: a token (RFC 6455
// section 4.1).
func ValidSubprotocol(name string) bool { return isToken([]byte(name)) }

func (r *Request) subprotocolsValid() bool {
	for offer := range r.offers() {
		if !isToken(offer) {
			return false
		}
	}
	return true
}
