package gateway

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
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
	opened := make(chan *session, 1)
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		accept, err := g.Upgrade(r)
		opened <- accept.Handler.(*session)
		return accept, err
	}
	s := servertest.Start(t, srv)
	t.Cleanup(func() {
		g.Close()
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Connect("/topics?envelope=1")
	s.WaitIdle()
	return <-opened
}

// TestNames: a session knows what it is subscribed to, also if that begins while it is told how, and nothing that has not begun.
func TestNames(t *testing.T) {
	t.Parallel()
	s := opened(t)
	for _, name := range []string{"a/b", "a/#"} {
		begun := false
		if _, err := s.subscribe(name, pubsub.SubscribeOptions{}, func(standing) error { begun = slices.Contains(s.names, name); return nil }); err != nil || !begun {
			t.Errorf("%s: it is not known, %v", name, err)
		}
		s.unsubscribe(name)
	}
	wrong := errors.New("wrong")
	if _, err := s.subscribe("a/b", pubsub.SubscribeOptions{}, func(standing) error { return wrong }); err != wrong || len(s.names) > 0 {
		t.Errorf("%v, subscribed to %q", err, s.names)
	}
	for _, info := range []string{"", "no JSON"} { // the second changes nothing
		if _, err := s.subscribe("a/b", pubsub.SubscribeOptions{Info: []byte(info)}, func(standing) error { return nil }); (err != nil) != (info != "") || len(s.names) != 1 {
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
