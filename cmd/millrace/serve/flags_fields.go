package serve

import (
	"errors"
	"regexp"

	"github.com/millrace/millrace/server"
)

// # The server's own judgement
//
// A setter says whether a text is a number, a size or a time at all. Which of them the
// server can work with, Server.Validate says, for the library as for the command. Its
// errors name fields; here they come to name flags.

// misuseError is a setting that can not work, found after the flags were read.
type misuseError struct{ error }

// fieldName is what may be a field's name in an error of the server's.
var fieldName = regexp.MustCompile(`\b[A-Z][a-z]\w*(\.[A-Z]\w*)?`)

// inFlags is an error of Server.Validate with the flag where the field was.
func (c *config) inFlags(err error) error {
	var wrong *server.FieldError
	if !errors.As(err, &wrong) {
		return err
	}
	set := c.flagSet()
	o := set.Setting(wrong.Field)
	if o == nil {
		return misuseError{err}
	}
	want := fieldName.ReplaceAllStringFunc(wrong.Want, func(field string) string {
		if other := set.Setting(field); other != nil {
			return "--" + other.Name
		}
		return field
	})
	return misuseError{c.values[o.Name].Invalid(want)}
}
