package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/shorttext"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Word says what was wrong, in one word: clients are told it as it is.
type Word string

// The words, in the order of Stats.Refused.
const (
	BadRequest   Word = "bad_request"
	BadName      Word = "bad_name"
	Wildcard     Word = "wildcard" // where a topic is wanted
	TooMany      Word = "too_many"
	TooBig       Word = "too_big"
	TooFast      Word = "too_fast"
	Unauthorized Word = "unauthorized" // the token is wrong, or has expired, or there is none
	Forbidden    Word = "forbidden"
	HistoryGone  Word = "history_gone"
	NoRoom       Word = "no_room"
	Unknown      Word = "unknown" // whether the message was published
	Closed       Word = "closed"
)

// Codes of close frames, from the ranges for registered ones and for private use (RFC 6455
// section 7.4.2).
const (
	CodeUnauthorized ws.Code = 3000
	CodeForbidden    ws.Code = 3003
	CodeHistoryGone  ws.Code = 4410
)

// answers are how a word is told by HTTP and by a close frame.
var answers = [...]struct {
	word   Word
	status int
	code   ws.Code
}{
	{BadRequest, http.StatusBadRequest, ws.CodePolicy},
	{BadName, http.StatusBadRequest, ws.CodePolicy},
	{Wildcard, http.StatusBadRequest, ws.CodePolicy},
	{TooMany, http.StatusBadRequest, ws.CodePolicy},
	{TooBig, http.StatusRequestEntityTooLarge, ws.CodeTooBig},
	{TooFast, http.StatusTooManyRequests, ws.CodePolicy},
	{Unauthorized, http.StatusUnauthorized, CodeUnauthorized},
	{Forbidden, http.StatusForbidden, CodeForbidden},
	{HistoryGone, http.StatusGone, CodeHistoryGone},
	{NoRoom, http.StatusServiceUnavailable, ws.CodeTryAgainLater},
	{Unknown, http.StatusServiceUnavailable, ws.CodeTryAgainLater},
	{Closed, http.StatusServiceUnavailable, ws.CodeGoingAway},
}

// Error is a refusal.
type Error struct {
	Word    Word
	Message string // for people
}

// Error implements error.
func (e *Error) Error() string { return string(e.Word) + ": " + e.Message }

// index is where the word stands in answers; -1: it is none of ours.
func (e *Error) index() int {
	for i := range answers {
		if answers[i].word == e.Word {
			return i
		}
	}
	return -1
}

func (e *Error) status() int { return answers[e.index()].status }

func (e *Error) code() ws.Code { return answers[e.index()].code }

// told is an error as JSON, of the topic that it is about if others are well.
type told struct {
	Error   Word   `json:"error"`
	Message string `json:"message"`
	Topic   string `json:"topic,omitempty"`
}

// body is the error as JSON.
func (e *Error) body() []byte { return marshal(told{Error: e.Word, Message: e.Message}) }

// topicError is what is wrong with one topic of a URL.
type topicError struct {
	error
	topic string
}

// Unwrap gives the error itself.
func (e *topicError) Unwrap() error { return e.error }

// header are the fields that an answer with the error has besides its own.
func (e *Error) header() http.Header {
	h := jsonHeader()
	switch e.status() {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="topics"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	return h
}

// refusal is the answer in place of an event stream. It tells which topic is at fault, if one is. Its reason is for the log alone.
func (g *Gateway) refusal(err error, who *identity) *ws.Refusal {
	e, body := g.refuse(err), []byte(nil)
	if of := (*topicError)(nil); errors.As(err, &of) {
		body = marshal(told{e.Word, e.Message, of.topic})
	} else {
		body = e.body()
	}
	reason := e.Error()
	if attrs := who.attrs(); len(attrs) > 0 {
		reason = fmt.Sprintf("%s (%v %v)", reason, attrs[0], attrs[1])
	}
	return &ws.Refusal{Status: e.status(), Reason: reason, Body: string(body), Header: e.header()}
}

// errorOf is an error as clients are told it.
func errorOf(err error) *Error {
	for _, known := range []struct {
		err  error
		word Word
	}{
		{pubsub.ErrName, BadName}, {pubsub.ErrInfo, BadRequest}, {pubsub.ErrPosition, BadRequest}, {pubsub.ErrNoPresence, BadRequest}, {pubsub.ErrTooMany, TooMany}, {pubsub.ErrFull, NoRoom}, {pubsub.ErrTooBig, TooBig}, {pubsub.ErrKey, TooBig},
		{pubsub.ErrTooFast, TooFast}, {pubsub.ErrUnknown, Unknown}, {pubsub.ErrBusy, NoRoom}, {pubsub.ErrClosed, Closed},
		{server.ErrNoRoom, NoRoom}, {server.ErrQueueFull, NoRoom}, {server.ErrMessageTooBig, TooBig}, {server.ErrClosed, Closed}, {server.ErrNotUTF8, BadRequest},
	} {
		if errors.Is(err, known.err) {
			return &Error{known.word, withoutPackage(err.Error())}
		}
	}
	var e *Error
	switch {
	case errors.As(err, &e) && e.index() >= 0:
		return e
	case errors.Is(err, pubsub.ErrUnavailable):
		return &Error{NoRoom, "what keeps the topic's messages is not there yet: try again"}
	}
	return &Error{NoRoom, "the broker has failed: try again"} // it may tell of machines within
}

// withoutPackage is an error's text without the name of the package of ours that it comes from: it says nothing to clients.
func withoutPackage(text string) string {
	if of, rest, ok := strings.Cut(text, ": "); ok && slices.Contains([]string{"pubsub", "server", "nats", "ws"}, of) {
		return rest
	}
	return text
}

// maxQuoted is how much of what a client has sent is told in an error.
const maxQuoted = 100

func quoted(text string) string { return strconv.Quote(shorttext.Cut(text, maxQuoted)) }
