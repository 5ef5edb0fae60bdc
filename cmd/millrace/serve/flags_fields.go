package serve

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/millrace/millrace/server"
)

// # The server's own judgement
//
// A setter says whether a text is a number, a size or a time at all. Which of them the
// server can work with, Server.Validate says, for the library as for the command. Its
// errors name fields; here they come to name flags.

// misuseError is a setting that the server refuses.
type misuseError struct{ error }

// given is what a setting was set to, and where.
type given struct{ source, text string }

// flagNames are the flags that set fields, but for those of Timeouts: see flagOf.
var flagNames = map[string]string{
	"Addr":                        "listen",
	"Origin.Allow":                "origin",
	"Origin.Hosts":                "host",
	"Proxy.Protocol":              "proxy-protocol",
	"Proxy.Trusted":               "trusted-proxies",
	"Limits.Conns":                "max-conns",
	"Limits.ConnsPerAddr":         "max-conns-per-addr",
	"Limits.Handshakes":           "max-handshakes",
	"Limits.TLSHandshakes":        "max-tls-handshakes",
	"Limits.HTTPConns":            "max-http-conns",
	"Limits.HTTPStreams":          "max-http-streams",
	"Limits.HandshakeRate":        "handshake-rate",
	"Limits.HandshakeBurst":       "handshake-burst",
	"Limits.Head":                 "max-head",
	"Limits.HeadLines":            "max-head-lines",
	"Limits.Message":              "max-message",
	"Limits.EmptyFragments":       "max-empty-fragments",
	"Limits.MessageRate":          "message-rate",
	"Limits.MessageBurst":         "message-burst",
	"Limits.ByteRate":             "byte-rate",
	"Limits.ByteBurst":            "byte-burst",
	"Limits.QueueMemory":          "max-backlog",
	"Limits.InboundMemory":        "max-inbound",
	"Queue.Max":                   "max-queue",
	"Queue.HighWater":             "queue-high-water",
	"Queue.LowWater":              "queue-low-water",
	"Queue.Policy":                "queue-policy",
	"Timeouts.HTTPIdle":           "http-idle-timeout",
	"Timeouts.Lifetime":           "max-lifetime",
	"Keepalive.Interval":          "ping-interval",
	"Keepalive.BalancerIdle":      "lb-idle-timeout",
	"Runtime.Engine":              "poller",
	"Runtime.Loops":               "loops",
	"Runtime.Workers":             "max-workers",
	"Runtime.SocketMode":          "listen-mode",
	"Deflate.Level":               "deflate-level",
	"Deflate.Threshold":           "deflate-threshold",
	"Deflate.ServerMaxWindowBits": "deflate-window",
	"Deflate.ClientMaxWindowBits": "deflate-window",
	"Deflate.MaxWindows":          "deflate-windows",
}

// flagOf is the flag that sets a field, "" if there is none.
func flagOf(field string) string {
	if name, ok := flagNames[field]; ok {
		return name
	}
	if timeout, ok := strings.CutPrefix(field, "Timeouts."); ok {
		return strings.ToLower(timeout) + "-timeout"
	}
	return ""
}

// fieldName is what may be a field's name in an error of the server's.
var fieldName = regexp.MustCompile(`\b[A-Z][a-z]\w*(\.[A-Z]\w*)?`)

// inFlags is an error of Server.Validate with the setting where the field was.
func (c *config) inFlags(err error) error {
	var wrong *server.FieldError
	if !errors.As(err, &wrong) {
		return err
	}
	from, ok := c.given[flagOf(wrong.Field)]
	if !ok {
		return misuseError{err}
	}
	want := fieldName.ReplaceAllStringFunc(wrong.Want, func(field string) string {
		if _, ok := c.given[flagOf(field)]; ok {
			return "--" + flagOf(field)
		}
		return field
	})
	return misuseError{fmt.Errorf("%s: invalid value %q: want %s", from.source, from.text, want)}
}
