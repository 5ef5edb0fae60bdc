package nats

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
)

// TestUnsent: what was refused here, before anything was sent, is told as definite.
func TestUnsent(t *testing.T) {
	for err, want := range map[error]error{
		nats.ErrMaxPayload: pubsub.ErrTooBig, nats.ErrBadSubject: ErrNoStream, nats.ErrHeadersNotSupported: ErrNoStream,
		nats.ErrTimeout: nil, nats.ErrConnectionClosed: nil, nats.ErrNoResponders: nil, &jetstream.APIError{Code: 400}: nil,
	} {
		if got := unsent(fmt.Errorf("in vain: %w", err)); !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
