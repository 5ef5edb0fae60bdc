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

// encode makes what goes over NATS.
func encode(subject string, m pubsub.Message, o pubsub.PublishOptions) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Data: m.Payload}
	set := func(key, value string) {
		if msg.Header == nil {
			msg.Header = nats.Header{}
		}
		msg.Header[key] = []string{value}
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
	return msg
}

// decode is the inverse, but for the topic and its position. What is no value of a header counts as
// none: the message comes from outside.
func decode(msg *nats.Msg) (m pubsub.Message, o pubsub.PublishOptions) {
	m = pubsub.Message{Payload: msg.Data, Opcode: ws.Text}
	if !utf8.Valid(msg.Data) || msg.Header.Get(headerBinary) == "1" {
		m.Opcode = ws.Binary
	}
	if len(msg.Header) == 0 {
		return m, o
	}
	o.Key, _ = url.PathUnescape(msg.Header.Get(headerKey)) // with an error ""
	if seconds, err := strconv.ParseFloat(msg.Header.Get(headerExpires), 64); err == nil && seconds > 0 && seconds < 1e9 {
		o.Expires = time.Duration(seconds * float64(time.Second))
	}
	if policy, err := strconv.Atoi(msg.Header.Get(headerPolicy)); err == nil && policy > 0 && policy <= int(server.DropOldest) {
		o.Policy = server.QueuePolicy(policy)
	}
	o.NotKept = msg.Header.Get(headerNotKept) == "1"
	return m, o
}
