package gateway

import (
	"net/http"

	"github.com/millrace/millrace/ws"
)

// # The log
//
// The server's log tells who was refused, and who has published or purged by a plain request: at debug level, or at info level
// with Server.LogRefusals. No line has a token or a query.

// attrs tell who somebody is; nil is not known.
func (i *identity) attrs() (attrs []any) {
	if i != nil && i.User != "" {
		attrs = append(attrs, "user", i.User)
	}
	if i != nil && i.Name != "" {
		attrs = append(attrs, "key", i.Name)
	}
	return attrs
}

// foreign are attributes of a request that the server has not admitted, for its host or its origin: with what would. r may be nil.
func (g *Gateway) foreign(status int, r *ws.Request) []any {
	switch {
	case r == nil:
	case status == http.StatusMisdirectedRequest:
		return []any{"host", r.PublicHost(), "remedy", "--host (Server.Origin.Hosts)"}
	case status == http.StatusForbidden && r.Header("Origin") != "" && g.srv.Origin.Check == nil:
		return []any{"origin", r.Header("Origin"), "host", r.PublicHost(), "remedy", "--topics-cors (Server.Origin.Allow and gateway.Options.CORS)"}
	}
	return nil
}

// logDone logs what a plain request has done.
func (g *Gateway) logDone(a *ask, what, topic string) {
	g.srv.LogServed(a.plan, append([]any{"did", what, "topic", topic}, a.who.attrs()...)...)
}

// logClosed logs a WebSocket that is opened only to be closed.
func (s *session) logClosed(r *ws.Request, err error) {
	e := errorOf(err)
	s.g.srv.LogRefused(r, append([]any{"code", int(e.code()), "reason", e.Error()}, s.who.attrs()...)...)
}
