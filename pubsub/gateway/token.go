package gateway

import (
	"slices"
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
func (g *Gateway) tokenOf(r *ws.Request, query string) (token string, cookie bool, err error) {
	if token, err := bearer(r); token != "" || err != nil {
		return token, false, err
	}
	for _, offer := range r.Subprotocols() {
		if token, ok := strings.CutPrefix(offer, tokenSubprotocol); ok {
			return token, false, nil
		}
	}
	if query != "" {
		return query, false, nil
	}
	if g.cookie == "" {
		return "", false, nil
	}
	token, _ = r.Cookie(g.cookie)
	return token, token != "", nil
}

// proxySchemes are those by which a proxy in front, or its server, knows users of its own: browsers send them along, and proxies
// pass them on.
var proxySchemes = []string{"basic", "digest", "negotiate", "ntlm"}

// bearer is the token of the field Authorization, "" for none. Another scheme is one who believes that he has brought a token.
func bearer(r *ws.Request) (token string, err error) {
	field := strings.Trim(r.Header("Authorization"), " ")
	scheme, token, _ := strings.Cut(field, " ")
	token = strings.Trim(token, " ")
	switch {
	case field == "" || slices.Contains(proxySchemes, strings.ToLower(scheme)):
		return "", nil
	case !strings.EqualFold(scheme, "Bearer"):
		return "", &Error{Unauthorized, "Authorization is not `Bearer TOKEN`"}
	}
	return token, nil
}

// passedOn are fields that proxies add, each in its own taste.
var passedOn = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// checkLocal refuses what has come through a proxy, where only this machine may come.
func (g *Gateway) checkLocal(r *ws.Request) error {
	if !g.local {
		return nil
	}
	for _, name := range passedOn {
		if len(r.Values(name)) > 0 {
			return &Error{Forbidden, "the topics are open to this machine alone, and this has come through a proxy (" + name + "): the server needs keys or JWTs"}
		}
	}
	return nil
}

// checkCookie: a page elsewhere must not act for its visitor. Browsers say whose page it is where it could. The
// server has checked the Origin if there is one, see server.Server.Admit. read: the request changes nothing, and pages elsewhere
// can not read the answer; so a page's own has no Origin.
func checkCookie(r *ws.Request, cookie, read bool) error {
	site := r.Header("Sec-Fetch-Site")
	switch origins := r.Values("Origin"); {
	case !cookie:
	case len(origins) == 0 && !read:
		return &Error{Forbidden, "a cookie counts only together with an Origin"}
	case len(origins) == 0 && (site == "cross-site" || site == "same-site"):
		return &Error{Forbidden, "a page elsewhere has asked: its visitor's cookie does not count"}
	case slices.Contains(origins, "null"):
		return &Error{Forbidden, "a page without an origin has asked: its visitor's cookie does not count"}
	}
	return nil
}
