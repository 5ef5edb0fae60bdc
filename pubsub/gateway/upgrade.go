package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Upgrade is the hook for server.Server.Upgrade, or for a server.Mux at /topics and /topics/{topic...}: WebSockets, and
// event streams if Server.EventStreams is set. It leaves event streams of other paths to Server.HTTP.
//
// A WebSocket that may not do what its URL asks is opened and closed at once, so that browsers see why:
// they do not tell pages of a refused upgrade. Event streams get a status. What authenticators need may take its time,
// within the hook's context.
func (g *Gateway) Upgrade(r *ws.Request) (server.Accept, error) {
	stream := r.EventStream()
	area, rest, ok := areaOf(r.Path())
	switch {
	case (!ok || area != topicsArea) && stream:
		return server.Accept{}, server.ErrUseHTTP
	case !ok || area != topicsArea:
		return server.Accept{}, refuseNoTopics
	}
	s := &session{g: g}
	accept := server.Accept{Handler: s, EventStream: stream, Header: g.corsHeader(r)}
	if stream {
		s.form = events
	} else {
		accept.Subprotocol = r.SelectSubprotocol(Subprotocol, RawSubprotocol)
	}
	asked, err := parseTarget(rest, r.RawQuery())
	if err == nil {
		err = s.prepare(r, asked, accept.Subprotocol)
	}
	accept.Enveloped = s.form == enveloped || stream && asked != nil && asked.envelope
	if s.form != raw {
		accept.MissedNotice = missed
	}
	s.opening = &opening{asked, err}
	if err != nil && stream {
		refusal := g.refusal(err, s.who)
		for name, values := range accept.Header {
			refusal.Header[name] = values
		}
		return server.Accept{}, refusal
	}
	return accept, nil
}

var refuseNoTopics = &ws.Refusal{Status: http.StatusNotFound, Reason: "no WebSocket at this path: topics are at /topics/NAME"}

// prepare finds out who it is, and whether he may do what the URL asks, with the subprotocol that was chosen.
func (s *session) prepare(r *ws.Request, t *target, chosen string) error {
	if s.form != events && (chosen == Subprotocol || t.envelope) {
		s.form = enveloped
	}
	if t.envelope && chosen == RawSubprotocol {
		return &Error{BadRequest, "envelope=1 and the subprotocol " + RawSubprotocol + " contradict each other"}
	}
	if most := s.g.hub.Limits().Topics; len(t.topics) > most {
		return &Error{TooMany, fmt.Sprintf("%d topics, at most %d are allowed", len(t.topics), most)}
	}
	if err := s.g.checkLocal(r); err != nil {
		return err
	}
	token, cookie, err := s.g.tokenOf(r, t.token)
	if t.token = ""; err == nil {
		err = checkCookie(r, cookie, s.form == events)
	}
	if err != nil {
		return err
	}
	if s.who, err = s.g.identify(r.Context(), token); err != nil {
		return err
	}
	if s.form == events {
		t.resume(r, s.who)
	}
	if len(t.topics) == 0 && s.form != enveloped {
		return &Error{BadRequest, "name a topic: /topics/NAME, or ?topic=NAME, or ask for envelopes"}
	}
	for i, name := range t.topics {
		if err := s.check(name, t.sinceOf(i) != pubsub.Position{} || t.lastOf(i) > 0); err != nil {
			return &topicError{err, name}
		}
	}
	return nil
}

// check says why a name may not be subscribed to. past: together with what is kept.
func (s *session) check(name string, past bool) error {
	if err := pubsub.CheckFilter(name); err != nil {
		return err
	}
	if err := s.who.need((*Rights).maySubscribe, "subscribe to", name); err != nil {
		return err
	}
	if of, ok := strings.CutPrefix(name, presencePrefix); ok {
		return s.g.checkPresence(of)
	}
	if past && hasHistory(name) && !s.who.may((*Rights).mayReadHistory, name) {
		return &Error{Forbidden, "no right to read the history of " + quoted(name)} // without a token too: it can do without the past
	}
	return nil
}

// origin is that of a request, if it is one of CORS.
func (g *Gateway) origin(r *ws.Request) string {
	if origin := r.Header("Origin"); origin != "" && r.OriginIn(g.cors) {
		return origin
	}
	return ""
}

// corsHeader has the browser give an answer to a page of another origin, if that is allowed.
func (g *Gateway) corsHeader(r *ws.Request) http.Header {
	h := http.Header{}
	if len(g.cors) > 0 {
		h.Set("Vary", "Origin")
	}
	if origin := g.origin(r); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		if g.cookie != "" {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	return h
}
