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

// otherNames are flags that have not just their field's name with dashes.
var otherNames = map[string]string{
	"Addr":                        "listen",
	"SocketMode":                  "listen-mode",
	"Origins":                     "origin",
	"Hosts":                       "host",
	"BalancerIdleTimeout":         "lb-idle-timeout",
	"Engine":                      "poller",
	"Deflate.Level":               "deflate-level",
	"Deflate.Threshold":           "deflate-threshold",
	"Deflate.ServerMaxWindowBits": "deflate-window",
	"Deflate.ClientMaxWindowBits": "deflate-window",
	"Deflate.MaxWindows":          "deflate-windows",
}

// wordStart is where a word of a field's name begins: MaxHTTPConns is three.
var wordStart = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// flagOf is the flag that sets a field, as far as there is one.
func flagOf(field string) string {
	if name, ok := otherNames[field]; ok {
		return name
	}
	return strings.ToLower(wordStart.ReplaceAllString(field, "$1$3-$2$4"))
}

// fieldName is what may be a field's name in an error of the server's.
var fieldName = regexp.MustCompile(`\b[A-Z][a-z]\w*`)

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
