package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// TestErrorOf: a word that is none of the gateway's, from a broker, is not told as another one, nor taken as it is.
func TestErrorOf(t *testing.T) {
	t.Parallel()
	for _, a := range answers {
		e := errorOf(fmt.Errorf("wrapped: %w", &Error{a.word, "why"}))
		if e.Word != a.word || e.Message != "why" || e.status() != a.status || e.code() != a.code {
			t.Errorf("%s: %v, %d, %d", a.word, e, e.status(), e.code())
		}
	}
	for _, err := range []error{&Error{"odd", "10.0.0.1 has failed"}, errors.New("10.0.0.1 has failed")} {
		if e := errorOf(err); *e != (Error{NoRoom, "the broker has failed: try again"}) {
			t.Errorf("%v: %v", err, e)
		}
	}
	if e := errorOf(fmt.Errorf("10.0.0.1: %w", pubsub.ErrUnavailable)); e.Word != NoRoom || !strings.Contains(e.Message, "not there yet") || strings.Contains(e.Message, "10.0.0.1") {
		t.Errorf("%v", e)
	}
}
