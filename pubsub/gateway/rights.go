package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/pubsub"
)

// Rights are what somebody may, each as patterns of topics: names and filters, as "rooms/+" or "#". A
// pattern is for the topics that it meets, and a filter may be subscribed to if a pattern covers it: with "rooms/#"
// also "rooms/+", and not "#". Names that begin with $ need a pattern that begins so.
type Rights struct {
	Subscribe []string `json:"subscribe,omitempty" yaml:"subscribe"`
	Publish   []string `json:"publish,omitempty" yaml:"publish"`
	// Presence is for who is there: GET /presence/NAME, and subscribing to $presence/NAME. The patterns
	// are of NAME.
	Presence []string `json:"presence,omitempty" yaml:"presence"`
	// History is for what is kept: GET /history, and since and last of a subscription. nil is as Subscribe, and an
	// empty slice is nothing, as JSON too.
	History []string `json:"history,omitzero" yaml:"history"`
	Purge   []string `json:"purge,omitempty" yaml:"purge"` // DELETE /history
	// Literal has Subscribe be for topics alone, and not for filters.
	Literal bool `json:"literal,omitempty" yaml:"literal"`
}

// everything is what everybody may where all is open.
var everything = Rights{Subscribe: []string{"#"}, Publish: []string{"#"}, Presence: []string{"#"}, Purge: []string{"#"}}

// anonymously is what those without a token may if nothing else is said.
var anonymously = Rights{Subscribe: []string{"#"}, Literal: true}

// maxPatterns bounds the patterns of one right: each publication is held against them.
const maxPatterns = 1000

// none says whether they allow nothing.
func (r *Rights) none() bool {
	return len(r.Subscribe)+len(r.Publish)+len(r.Presence)+len(r.History)+len(r.Purge) == 0
}

// Check says which pattern is none.
func (r *Rights) Check() error {
	for _, right := range []struct {
		name     string
		patterns []string
	}{{"subscribe", r.Subscribe}, {"publish", r.Publish}, {"presence", r.Presence}, {"history", r.History}, {"purge", r.Purge}} {
		if len(right.patterns) > maxPatterns {
			return fmt.Errorf("%s: %d patterns, at most %d are allowed", right.name, len(right.patterns), maxPatterns)
		}
		for _, pattern := range right.patterns {
			if err := pubsub.CheckFilter(pattern); err != nil {
				return fmt.Errorf("%s: %w", right.name, err)
			}
		}
	}
	return nil
}

// presencePrefix begins the topics that tell of who is there.
const presencePrefix = "$presence/"

func (r *Rights) maySubscribe(name string) bool {
	if of, ok := strings.CutPrefix(name, presencePrefix); ok {
		return covered(r.Presence, of)
	}
	return !(r.Literal && pubsub.IsFilter(name)) && covered(r.Subscribe, name)
}

func (r *Rights) mayPublish(name string) bool { return covered(r.Publish, name) }

func (r *Rights) maySeePresence(name string) bool { return covered(r.Presence, name) }

func (r *Rights) mayPurge(name string) bool { return covered(r.Purge, name) }

func (r *Rights) mayReadHistory(name string) bool {
	if r.History == nil {
		return covered(r.Subscribe, name)
	}
	return covered(r.History, name)
}

// covered says whether one of the patterns meets all names that a name or a filter meets.
func covered(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return pubsub.Covers(pattern, name) })
}

// Identity is who brings a token.
type Identity struct {
	// User is whose connections these are, see pubsub.Hub.SetUser; "" is nobody in particular.
	User string
	// Name says for the log which key it is; "" is none.
	Name string
	// Rights are what the token allows, besides what everybody may.
	Rights Rights
	// Hint is told besides to who is refused something for want of a right, as that the token names none; "" is nothing.
	Hint string
	// Expires is when the token ends, and with it what was opened with it; zero is never.
	Expires time.Time
}

// Authenticator says who brings a token. Several goroutines may call it. It may block until the context
// ends.
type Authenticator interface {
	// Authenticate returns ErrNotMine, wrapped or not, for a token that is not of its kind, and so may be
	// another Authenticator's. Other errors refuse; the client is told what they say.
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// ErrNotMine: see Authenticator.
var ErrNotMine = errors.New("gateway: the token is unknown")

// maxToken bounds a token in bytes.
const maxToken = 8 << 10

// identify says who brings a token; "" is none.
func (g *Gateway) identify(ctx context.Context, token string) (*identity, error) {
	if token == "" {
		return g.nobody, nil
	}
	if len(token) > maxToken {
		return nil, &Error{Unauthorized, "the token is too long"}
	}
	for _, a := range g.auth {
		who, err := a.Authenticate(ctx, token)
		switch {
		case errors.Is(err, ErrNotMine):
			continue
		case err != nil:
			return nil, &Error{Unauthorized, err.Error()}
		case !who.Expires.IsZero() && !who.Expires.After(time.Now()):
			return nil, &Error{Unauthorized, "the token has expired"}
		}
		return &identity{Identity: who, all: &g.anonymous}, nil
	}
	return nil, &Error{Unauthorized, "the token is unknown"}
}

// identity is who somebody is, with what everybody may.
type identity struct {
	Identity
	all       *Rights
	tokenless bool // there was no token, and one could allow more
}

// may says whether one of the two allows it.
func (i *identity) may(do func(*Rights, string) bool, name string) bool {
	return do(&i.Rights, name) || do(i.all, name)
}

// mayNotPublish says why somebody may not publish to a topic.
func (i *identity) mayNotPublish(name string) error {
	if strings.HasPrefix(name, "$") {
		return &Error{Forbidden, "nothing can be published to names that begin with $, such as " + quoted(name)}
	}
	return i.need((*Rights).mayPublish, "publish to", name)
}

// need returns Forbidden unless it is allowed, or Unauthorized to who has brought no token.
func (i *identity) need(do func(*Rights, string) bool, what, name string) error {
	if i.may(do, name) {
		return nil
	}
	if i.tokenless {
		return &Error{Unauthorized, "no right to " + what + " " + quoted(name) + " without a token"}
	}
	refused := &Error{Forbidden, "no right to " + what + " " + quoted(name)}
	if i.Hint != "" {
		refused.Message += ": " + i.Hint
	}
	return refused
}
