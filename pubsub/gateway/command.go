package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/rate"
	"github.com/millrace/millrace/internal/shorttext"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// # Envelopes
//
// docs/envelope.schema.json specifies what both sides say. A client's message has a number, and one of
// the verbs; the answer has the same number.

// command is what a client asks.
type command struct {
	ID          *uint64 `json:"id"`
	Subscribe   *string `json:"subscribe"`
	Unsubscribe *string `json:"unsubscribe"`
	Publish     *string `json:"publish"`
	Token       *string `json:"token"`
	Ping        *bool   `json:"ping"`

	Since *string         `json:"since"` // of subscribe
	Last  *int            `json:"last"`
	Info  json.RawMessage `json:"info"`

	Data    *string  `json:"data"` // of publish: one of the two
	Binary  *string  `json:"binary"`
	Key     *string  `json:"key"`
	Expires *float64 `json:"expires"` // seconds
	Kept    *bool    `json:"kept"`

	bytes   []byte        // what Binary stands for
	expires time.Duration // what Expires does
}

// reply answers a command that was done.
type reply struct {
	ID           uint64   `json:"id"`
	OK           bool     `json:"ok"`
	Topic        string   `json:"topic,omitempty"`
	Position     string   `json:"position,omitempty"`
	Recovered    *bool    `json:"recovered,omitempty"`
	Sent         *int     `json:"sent,omitempty"`
	Again        bool     `json:"again,omitempty"`
	Members      *int     `json:"members,omitempty"`
	Unsubscribed []string `json:"unsubscribed,omitempty"`
	ExpiresIn    *int     `json:"expires_in,omitempty"`
}

// refusal answers one that was not; without a number if it had none.
type refusal struct {
	ID      *uint64 `json:"id,omitempty"`
	Error   Word    `json:"error"`
	Message string  `json:"message"`
}

// maxExpires bounds how long a message may wait in a queue.
const maxExpires = 24 * 60 * 60 // seconds

// command does what a message asks, and answers.
func (s *session) command(m ws.Message) {
	c, err := parseCommand(m)
	var r *reply
	if err == nil {
		r, err = s.do(c)
	}
	switch {
	case err != nil:
		e := s.g.refuse(err)
		s.answer(refusal{c.ID, e.Word, e.Message})
	case r != nil:
		s.answer(r)
	}
}

// answer sends an answer; the connection's policy says what becomes of one that finds no room.
func (s *session) answer(v any) { _ = s.conn.SendText(string(marshal(v))) }

func badCommand(text string) error { return &Error{BadRequest, text} }

// parseCommand reads a command. With an error the number is there if it could be read.
func parseCommand(m ws.Message) (c command, err error) {
	if m.Opcode != ws.Text {
		return c, badCommand("a binary message: envelopes are JSON in text messages")
	}
	err = json.Unmarshal(m.Payload, &c)
	id, wrong := lookAt(m.Payload)
	if c.ID = &id; id == 0 {
		c.ID = nil
	}
	switch {
	case wrong != "":
		return c, badCommand(wrong)
	case err != nil:
		return c, badCommand(whatIsWrong(err))
	}
	verbs := 0
	for _, given := range []bool{c.Subscribe != nil, c.Unsubscribe != nil, c.Publish != nil, c.Token != nil, c.Ping != nil} {
		if given {
			verbs++
		}
	}
	switch {
	case c.ID == nil:
		return c, badCommand("id is a number from 1 to 2^53-1")
	case verbs != 1:
		return c, badCommand("an envelope has one of subscribe, unsubscribe, publish, token and ping")
	}
	return c, c.check()
}

// whatIsWrong tells clients why their text is no envelope.
func whatIsWrong(err error) string {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field == "data":
		return "data is a text: JSON goes into it as a string"
	case errors.As(err, &kind) && kind.Field != "":
		return kind.Field + " can not be a JSON " + shorttext.Cut(kind.Value, maxQuoted) // a number has its digits there
	case strings.Contains(err.Error(), "exceeded max depth"):
		return "the JSON is nested too deeply"
	case strings.Contains(err.Error(), "after top-level value"):
		return "something follows the envelope"
	}
	return "an envelope is a JSON object"
}

// check says which field can not work, or belongs to another verb.
func (c *command) check() error {
	switch {
	case c.Subscribe == nil && (c.Since != nil || c.Last != nil || c.Info != nil):
		return badCommand("since, last and info belong to subscribe")
	case c.Publish == nil && (c.Data != nil || c.Binary != nil || c.Key != nil || c.Expires != nil || c.Kept != nil):
		return badCommand("data, binary, key, expires and kept belong to publish")
	case c.Last != nil && (*c.Last < 0 || *c.Last > maxLast):
		return badCommand("last is a number from 0 to 1000000")
	case c.Publish != nil && (c.Data == nil) == (c.Binary == nil):
		return badCommand("publish needs data, a text, or binary, bytes in base64")
	case c.Ping != nil && !*c.Ping:
		return badCommand("ping is true")
	}
	if c.Binary != nil {
		var err error
		if c.bytes, err = base64.StdEncoding.Strict().DecodeString(*c.Binary); err != nil || strings.ContainsAny(*c.Binary, "\r\n") {
			return badCommand("binary is base64 (RFC 4648 section 4), with padding")
		}
	}
	if c.Expires != nil {
		var err error
		c.expires, err = parseExpires(*c.Expires)
		return err
	}
	return nil
}

// parseExpires reads a number of seconds.
func parseExpires(seconds float64) (time.Duration, error) {
	if !(seconds >= 0.001 && seconds <= maxExpires) {
		return 0, badCommand("expires is a number of seconds from 0.001 to 86400")
	}
	return time.Duration(math.Round(seconds*1e3)) * time.Millisecond, nil
}

// value is what a field has, or the zero value.
func value[T any](field *T) (v T) {
	if field != nil {
		v = *field
	}
	return v
}

// do does it, and gives the answer, nil if that is sent already.
func (s *session) do(c command) (*reply, error) {
	r := &reply{ID: *c.ID, OK: true}
	switch {
	case c.Subscribe != nil:
		return s.doSubscribe(c, r)
	case c.Unsubscribe != nil:
		r.Topic = *c.Unsubscribe
		if !s.unsubscribe(r.Topic) {
			return nil, badCommand("not subscribed to " + quoted(r.Topic))
		}
	case c.Publish != nil:
		p, err := s.doPublish(c)
		if err != nil {
			return nil, err
		}
		r.Position, r.Members = p.Position.String(), &p.Members
	case c.Token != nil:
		return r, s.renew(*c.Token, r)
	}
	return r, nil
}

func (s *session) doSubscribe(c command, r *reply) (*reply, error) {
	since, err := pubsub.ParsePosition(value(c.Since))
	if err != nil {
		return nil, err
	}
	o := pubsub.SubscribeOptions{Since: since, Last: value(c.Last), Info: c.Info}
	again, err := s.subscribe(*c.Subscribe, o, func(st standing) error {
		r.Topic, r.Position, r.Recovered, r.Sent = st.Topic, st.Position, &st.Recovered, &st.Sent
		return s.conn.SendText(string(marshal(r)))
	})
	switch {
	case errors.Is(err, server.ErrQueueFull) || errors.Is(err, server.ErrMessageTooBig):
		s.fail(&Error{NoRoom, "what is kept does not fit into the connection's queue"}) // it has got a part
		return nil, nil
	case again:
		r.Topic, r.Again = *c.Subscribe, true
		return r, nil
	}
	return nil, err
}

func (s *session) doPublish(c command) (pubsub.Published, error) {
	name := *c.Publish
	if err := checkTopic(name); err != nil {
		return pubsub.Published{}, err
	}
	if err := s.who.mayNotPublish(name); err != nil {
		return pubsub.Published{}, err
	}
	m := pubsub.Message{Topic: name, Opcode: ws.Text}
	if c.Data != nil {
		m.Payload = []byte(*c.Data)
	} else {
		m.Payload, m.Opcode = c.bytes, ws.Binary
	}
	o := pubsub.PublishOptions{From: s.conn, NotKept: c.Kept != nil && !*c.Kept}
	o.Key, o.Expires = value(c.Key), c.expires
	return s.publish(m, o)
}

// publish publishes, and tells the bound of who is too fast.
func (s *session) publish(m pubsub.Message, o pubsub.PublishOptions) (pubsub.Published, error) {
	p, err := s.g.hub.Publish(s.g.ctx, m, o)
	if errors.Is(err, pubsub.ErrTooFast) {
		l := s.g.hub.Limits()
		err = &Error{TooFast, "a connection may publish " + rateInWords(l.PublishRate, l.PublishBurst)}
	}
	return p, err
}

// renewTime bounds how long a new token is judged.
const renewTime = 10 * time.Second

// renewals bounds the tokens that a connection brings, good ones and bad ones: one a second, and a few at once.
var renewals = rate.New(1, 10)

// renew takes a new token in place of the old one. Subscriptions that it does not allow end.
func (s *session) renew(token string, r *reply) error {
	if token == "" {
		return badCommand("token is empty")
	}
	if !s.renewed.Take(renewals, time.Since(s.g.began)) {
		return &Error{TooFast, "a connection brings at most one token a second"}
	}
	ctx, cancel := context.WithTimeout(s.g.ctx, renewTime)
	defer cancel()
	who, err := s.g.identify(ctx, token)
	switch {
	case err != nil:
		return err
	case s.who.User != "" && who.User != s.who.User:
		return &Error{Forbidden, "the token is another user's: open another connection"}
	}
	if !s.g.expiries.set(s, who.Expires) {
		return &Error{Unauthorized, "the token has expired"} // and the connection is being closed
	}
	s.who = who
	if who.User != "" {
		s.g.hub.SetUser(s.conn, who.User)
	}
	if !who.Expires.IsZero() {
		seconds := int(time.Until(who.Expires).Round(time.Second) / time.Second)
		r.ExpiresIn = &seconds
	}
	s.mu.Lock()
	names := slices.Clone(s.names)
	s.mu.Unlock()
	for _, name := range names {
		if !who.may((*Rights).maySubscribe, name) && s.unsubscribe(name) {
			r.Unsubscribed = append(r.Unsubscribed, name)
		}
	}
	return nil
}
