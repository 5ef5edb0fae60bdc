package nats

import (
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The headers of a message, each only where it says something. Other programs may set them too.
const (
	headerBinary  = "Millrace-Binary"  // "1": it is binary though it may be a text
	headerKey     = "Millrace-Key"     // SendOptions.Key, escaped as in a URL's path
	headerExpires = "Millrace-Expires" // SendOptions.Expires, in seconds
	headerPolicy  = "Millrace-Policy"  // SendOptions.Policy, by its number
	headerNotKept = "Millrace-Not-Kept"
	headerPurged  = "Millrace-Purged" // the topic's history ends here
)

// maxKey bounds a key in bytes, as a hub does. One that is longer the server may refuse, and with it the message, or all of the past that has it.
const maxKey = 256

// header makes the headers of a message; nil: it has none.
func header(m *pubsub.Message, o *pubsub.PublishOptions) (h nats.Header) {
	set := func(key, value string) {
		if h == nil {
			h = nats.Header{}
		}
		h[key] = []string{value}
	}
	if m.Opcode == ws.Binary && utf8.Valid(m.Payload) {
		set(headerBinary, "1")
	}
	if o.Key != "" {
		set(headerKey, url.PathEscape(o.Key))
	}
	if o.Expires > 0 {
		set(headerExpires, strconv.FormatFloat(o.Expires.Seconds(), 'f', -1, 64))
	}
	if o.Policy != 0 {
		set(headerPolicy, strconv.Itoa(int(o.Policy)))
	}
	if o.NotKept {
		set(headerNotKept, "1")
	}
	return h
}

// decode makes a message of what came, but for its topic and its position.
func decode(msg *nats.Msg) (pubsub.Message, pubsub.PublishOptions) {
	return pubsub.Message{Payload: msg.Data, Opcode: opcode(msg)}, options(msg.Header)
}

func opcode(msg *nats.Msg) ws.Opcode {
	if !utf8.Valid(msg.Data) || len(msg.Header) > 0 && msg.Header.Get(headerBinary) == "1" {
		return ws.Binary
	}
	return ws.Text
}

// options are those of a message. What is no value of a header counts as none: the message comes from outside.
func options(h nats.Header) (o pubsub.PublishOptions) {
	if len(h) == 0 {
		return o
	}
	if key, err := url.PathUnescape(h.Get(headerKey)); err == nil && len(key) <= maxKey {
		o.Key = key
	}
	if seconds, err := strconv.ParseFloat(h.Get(headerExpires), 64); err == nil && seconds > 0 && seconds < 1e9 {
		o.Expires = time.Duration(seconds * float64(time.Second))
	}
	if policy, err := strconv.Atoi(h.Get(headerPolicy)); err == nil && policy > 0 && policy <= int(server.DropOldest) {
		o.Policy = server.QueuePolicy(policy)
	}
	o.NotKept = h.Get(headerNotKept) == "1"
	return o
}
