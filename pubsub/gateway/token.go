package gateway

import (
	"strings"

	"github.com/millrace/millrace/ws"
)

// Subprotocols of the gateway's WebSockets. A client that offers a token offers one of the
// others too: browsers want one to be selected, and the token is not.
const (
	// Subprotocol is that of envelopes.
	Subprotocol = "millrace.topics.v1"
	// RawSubprotocol is that of payloads as they are.
	RawSubprotocol = "millrace.raw.v1"
	// tokenSubprotocol begins the token.
	tokenSubprotocol = "millrace.token."
)

// tokenOf is the token that a request brings, "" for none, and whether it is one that a browser adds by itself: a
// cookie. What is said first in this order counts: Authorization, a subprotocol, the query, a cookie.
func (g *Gateway) tokenOf(r *ws.Request, query string) (token string, cookie bool) {
	if scheme, secret, ok := strings.Cut(r.Header("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.Trim(secret, " "), false
	}
	for _, offer := range r.Subprotocols() {
		if token, ok := strings.CutPrefix(offer, tokenSubprotocol); ok {
			return token, false
		}
	}
	if query != "" {
		return query, false
	}
	if g.cookie == "" {
		return "", false
	}
	token, _ = r.Cookie(g.cookie)
	return token, token != ""
}

// checkCookie: a page elsewhere must not act for its visitor. Browsers say whose page it is where it could. The
// server has checked the Origin if there is one, see server.Server.Admit.
func checkCookie(r *ws.Request, cookie bool) error {
	if cookie && len(r.Values("Origin")) == 0 {
		return &Error{Forbidden, "a cookie counts only together with an Origin"}
	}
	return nil
}
