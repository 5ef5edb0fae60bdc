package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
)

// opened gives a connection with envelopes.
func opened(t *testing.T) *session {
	t.Helper()
	srv := &server.Server{}
	hub, err := pubsub.New(srv, pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(hub, Options{Open: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Upgrade = g.Upgrade
	s := servertest.Start(t, srv)
	t.Cleanup(func() {
		g.Close()
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Connect("/topics?envelope=1")
	s.WaitIdle()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.sessions {
		return one
	}
	t.Fatal("there is no session")
	return nil
}

// TestGapAtOnce: a subscription is told of gaps from its beginning, and not if it does not begin.
func TestGapAtOnce(t *testing.T) {
	t.Parallel()
	s := opened(t)
	for _, name := range []string{"a/b", "a/#"} {
		begun := false
		if _, err := s.subscribe(name, pubsub.SubscribeOptions{}, func(standing) error { begun = s.has("a/b"); return nil }); err != nil || !begun {
			t.Errorf("%s: it is not told, %v", name, err)
		}
		s.unsubscribe(name)
	}
	wrong := errors.New("wrong")
	if _, err := s.subscribe("a/b", pubsub.SubscribeOptions{}, func(standing) error { return wrong }); err != wrong || s.has("") {
		t.Errorf("%v, subscribed to %q", err, s.names)
	}
	for _, info := range []string{"", "no JSON"} { // the second changes nothing
		if _, err := s.subscribe("a/b", pubsub.SubscribeOptions{Info: []byte(info)}, func(standing) error { return nil }); (err != nil) != (info != "") || !s.has("a/b") {
			t.Errorf("info %q: %v, subscribed to %q", info, err, s.names)
		}
	}
}

// TestRenewalTooLate: a new token that comes when the connection is about to be closed is refused, not confirmed.
func TestRenewalTooLate(t *testing.T) {
	t.Parallel()
	s, now := opened(t), time.Now()
	s.g.auth = []Authenticator{always{}}
	if err := s.renew("good", &reply{}); err != nil {
		t.Fatal(err)
	}
	s.g.expiries.set(s, now.Add(time.Hour))
	for range 2 { // it is told, and then to be ended
		s.g.expiries.next(now.Add(time.Hour))
	}
	var e *Error
	if err := s.renew("good", &reply{}); !errors.As(err, &e) || e.Word != Unauthorized {
		t.Errorf("%v", err)
	}
}

// always knows each token.
type always struct{}

func (always) Authenticate(context.Context, string) (Identity, error) { return Identity{}, nil }
