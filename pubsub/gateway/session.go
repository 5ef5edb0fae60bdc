package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/rate"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// session is a connection of the gateway's: its handler.
type session struct {
	g       *Gateway
	conn    *server.Conn // from Open on
	opening *opening     // until Open
	who     *identity
	expiry  *expiry // guarded by Gateway.expiries.mu; nil: the token does not end
	expired bool    // so is this: the token has ended
	form    form
	entered bool   // the gateway counts it
	topic   string // the one that the URL names, once it is subscribed to: raw messages are published to it
	renewed rate.Bucket

	mu    sync.Mutex // guards names, and is taken inside no other lock but a topic's
	names []string   // of its subscriptions, each once, also of those that Hub.UnsubscribeUser has ended; none of raw connections
}

// opening is what the hook has found out.
type opening struct {
	asked  *target
	failed error // why it is closed as soon as it is open
}

// Open implements server.Handler.
func (s *session) Open(c *server.Conn) {
	asked, failed := s.opening.asked, s.opening.failed
	s.conn, s.opening = c, nil
	if failed != nil {
		s.logClosed(c.Request(), failed)
		s.fail(failed)
		return
	}
	s.enter()
	for i, name := range asked.topics {
		o := pubsub.SubscribeOptions{Since: asked.sinceOf(i), Last: asked.lastOf(i), Info: asked.info}
		_, err := s.subscribe(name, o, func(st standing) error { return s.begin(st, len(asked.topics) == 1) })
		if err != nil {
			s.logClosed(c.Request(), err)
			if e := errorOf(err); s.form == events {
				s.tell("refused", told{e.Word, e.Message, name})
			}
			s.fail(err)
			return
		}
	}
	if one := asked.topics; len(one) == 1 && !pubsub.IsFilter(one[0]) {
		s.topic = one[0]
	}
}

// Close implements server.Handler.
func (s *session) Close(*server.Conn, error) {
	if !s.entered {
		return
	}
	g := s.g
	g.expiries.set(s, time.Time{})
	g.counts.open[s.form].Add(-1)
}

// enter has the gateway know the session.
func (s *session) enter() {
	g := s.g
	s.entered = true
	g.counts.open[s.form].Add(1)
	if s.who.User != "" {
		g.hub.SetUser(s.conn, s.who.User)
	}
	if s.who == g.nobody && g.anonymous.none() {
		g.expiries.wait(s, time.Now().Add(tokenTime))
	} else {
		g.expiries.set(s, s.who.Expires)
	}
}

// missed tells of messages that were dropped, since the connection reads too slowly. It stands in their place: who has
// seen the position of a message behind them was told.
var missed = &server.MissedNotice{Before: `{"missed":`, After: `}`, Event: "missed"}

// fail ends the connection with an error.
func (s *session) fail(err error) {
	e := s.g.refuse(err)
	_ = s.conn.Close(e.code(), e.Error()) // it may have ended
}

// standing is how a subscription begins, as clients are told it. With a position the client has everything
// up to there, and needs it from there on if it has to come back. So there is none where messages of the past
// follow, of which each has its own, unless they follow upon since.
type standing struct {
	Topic     string `json:"topic"`
	Position  string `json:"position,omitempty"`
	Recovered bool   `json:"recovered"`
	Sent      int    `json:"sent"`
}

// subscribe subscribes to a topic or a filter. begun is called before the first message of it comes, unless
// the connection was subscribed already.
func (s *session) subscribe(name string, o pubsub.SubscribeOptions, begun func(standing) error) (again bool, err error) {
	comesBack := o.Since != pubsub.Position{}
	if err := s.check(name, comesBack || o.Last > 0); err != nil {
		return false, err
	}
	added := false
	o.Before = func(sub pubsub.Subscribed) error {
		if comesBack && !sub.Recovered && s.form == raw {
			return &Error{HistoryGone, "not all messages behind since are kept: load anew"}
		}
		position := sub.Position
		if sub.Sent > 0 {
			position = pubsub.Position{}
			if sub.Recovered {
				position = o.Since
			}
		}
		s.mu.Lock()
		if added = true; s.form != raw && !slices.Contains(s.names, name) {
			s.names = append(s.names, name)
		}
		s.mu.Unlock()
		return begun(standing{name, position.String(), sub.Recovered, sub.Sent})
	}
	sub, err := s.g.hub.Subscribe(s.conn, name, o)
	if errors.Is(err, pubsub.ErrTooFast) {
		l := s.g.hub.Limits()
		err = &Error{TooFast, fmt.Sprintf("a connection may leave %d topics with presence a second, and %d at once, and still subscribe to one", l.PresenceRate, l.PresenceBurst)}
	}
	switch {
	case err != nil:
		if added {
			s.forget(name)
		}
		return false, err
	case sub.Again:
		return true, nil
	case comesBack && sub.Recovered:
		s.g.counts.recovered.Add(1)
	case comesBack:
		s.g.counts.missing.Add(1)
	}
	return false, nil
}

// forget takes a name out of those of its subscriptions.
func (s *session) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
}

// hasHistory says whether a name can have one: filters have none, nor has what the hub itself tells.
func hasHistory(name string) bool { return !pubsub.IsFilter(name) && !strings.HasPrefix(name, "$") }

// unsubscribe ends a subscription.
func (s *session) unsubscribe(name string) (ok bool) {
	s.forget(name)
	return s.g.hub.Unsubscribe(s.conn, name)
}

// begin tells how a subscription of the URL's begins. alone: it is the only one.
func (s *session) begin(st standing, alone bool) error {
	switch s.form {
	case enveloped:
		return s.conn.SendText(string(marshal(struct {
			Subscribed standing `json:"subscribed"`
		}{st})))
	case events:
		e := sse.Event{Name: "subscribed", Data: marshal(struct {
			Topics []standing `json:"topics"`
		}{[]standing{st}})}
		if alone && hasHistory(st.Topic) && s.who.may((*Rights).mayReadHistory, st.Topic) {
			e.ID = st.Position // a client that comes back before the first message misses none
		}
		return s.conn.SendEvent(e)
	}
	return nil
}

// Message implements server.Handler.
func (s *session) Message(c *server.Conn, m ws.Message) {
	switch {
	case !s.entered: // it is closing
	case s.form == enveloped:
		s.command(m)
	case s.topic == "": // or Open has failed
		s.fail(&Error{BadRequest, "name one topic in the URL to publish to it"})
	default:
		err := s.who.mayNotPublish(s.topic)
		if err == nil {
			_, err = s.publish(pubsub.Message{Topic: s.topic, Payload: m.Payload, Opcode: m.Opcode}, pubsub.PublishOptions{From: c})
		}
		if err != nil {
			s.fail(err)
		}
	}
}

// marshal is for our own structs of texts and numbers. What JSON need not escape stays as it is: pages take it for JSON alone.
func marshal(v any) []byte {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	_ = to.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

// gap tells of a topic of which messages may be missing; "#" is all.
type gap struct {
	Topic string `json:"gap"`
}

// gapNotice is what clients get when a broker says that it has missed something, but for raw payloads, which have no
// place for it.
func (g *Gateway) gapNotice(topic string) *ws.Prepared {
	g.counts.gaps.Add(1)
	return ws.PrepareWith(ws.Text, marshal(gap{cmp.Or(topic, "#")}), ws.PrepareOptions{Event: "gap", NotPlain: true})
}
