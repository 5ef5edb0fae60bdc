package gateway

import (
	"net/http"

	"github.com/millrace/millrace/ws"
)

// # The log
//
// The server's log tells who was refused, and who has published or purged by a plain request: at debug level, or at info level
// with Server.LogRefusals. It has no token and no query.

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

// logDone logs what a plain request has done.
func (g *Gateway) logDone(a ask, what, topic string) {
	g.srv.LogServed(a.plan, append([]any{"did", what, "topic", topic}, a.who.attrs()...)...)
}

// logRefused logs a plain request that is refused.
func (g *Gateway) logRefused(plan *ws.Request, who *identity, err error) {
	e := errorOf(err)
	status, reason := e.status(), e.Error()
	switch err {
	case errMethod:
		status, reason = http.StatusMethodNotAllowed, "no such method here"
	case errNoUpgrade:
		status, reason = http.StatusUpgradeRequired, "no upgrade, and no event stream"
	}
	g.srv.LogRefused(plan, append([]any{"status", status, "reason", reason}, who.attrs()...)...)
}

// logClosed logs a WebSocket that is opened only to be closed.
func (s *session) logClosed(r *ws.Request, err error) {
	e := errorOf(err)
	s.g.srv.LogRefused(r, append([]any{"code", int(e.code()), "reason", e.Error()}, s.who.attrs()...)...)
}
