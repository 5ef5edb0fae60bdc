package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// rig is a server with a gateway.
type rig struct {
	t   *testing.T
	srv *servertest.Server
	hub *pubsub.Hub
	g   *gateway.Gateway

	endless bool // event streams are waited for without end
}

// keep has all topics keep 100 messages, and those of "rooms" know who is there.
var keep = []pubsub.Rule{{Filter: "rooms/#", Messages: 100, Presence: true}, {Filter: "brief/#", Messages: 2}, {Filter: "none/#"}, {Filter: "#", Messages: 100}}

func newRig(t *testing.T, o gateway.Options) *rig {
	return newRigWith(t, o, pubsub.Options{Rules: keep}, nil)
}

func newRigWith(t *testing.T, o gateway.Options, ho pubsub.Options, configure func(*server.Server)) *rig {
	t.Helper()
	srv := &server.Server{EventStreams: true}
	srv.Runtime.Loops = 2
	if configure != nil {
		configure(srv)
	}
	hub, err := pubsub.New(srv, ho)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(hub, o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Upgrade, srv.HTTP = g.Upgrade, g.HTTP(nil)
	r := &rig{t: t, srv: servertest.Start(t, srv), hub: hub, g: g}
	t.Cleanup(func() {
		g.Close()
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// tokens is an Authenticator by a map.
type tokens map[string]gateway.Identity

func (m tokens) Authenticate(_ context.Context, token string) (gateway.Identity, error) {
	if token == "broken" {
		return gateway.Identity{}, errors.New("the token is broken")
	}
	who, ok := m[token]
	if !ok {
		return who, gateway.ErrNotMine
	}
	return who, nil
}

// some are tokens with few rights each.
var some = tokens{
	"ann":     {User: "ann", Rights: gateway.Rights{Subscribe: []string{"rooms/#"}, Publish: []string{"rooms/hall", "rooms/+/ann"}}},
	"bob":     {User: "bob", Rights: gateway.Rights{Subscribe: []string{"rooms/+"}, History: []string{}, Presence: []string{"rooms/hall"}}},
	"cleaner": {Rights: gateway.Rights{Purge: []string{"rooms/#"}}},
	"watcher": {Rights: gateway.Rights{Presence: []string{"#", "$presence/#"}}},
	"writer":  {Rights: gateway.Rights{Publish: []string{"#"}}},
}

// nothing lets nobody without a token do anything.
var nothing = &gateway.Rights{}

// answer is a plain answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// word is that of an error.
func (a answer) word() string {
	var e struct{ Error, Message string }
	if json.Unmarshal([]byte(a.body), &e) != nil || e.Message == "" {
		return "no error: " + a.body
	}
	return e.Error
}

// request makes a request, with header lines.
func (r *rig) request(ctx context.Context, method, target, body string, lines ...string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://example.com"+target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, line := range lines {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Add(name, value)
		}
	}
	return req
}

// ask sends a plain request, with header lines.
func (r *rig) ask(method, target, body string, lines ...string) answer {
	r.t.Helper()
	req := r.request(r.t.Context(), method, target, body, lines...)
	resp, err := r.srv.HTTP().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// expect asks, and checks the status, and the word of an error or what the body holds.
func (r *rig) expect(status int, want, method, target, body string, lines ...string) answer {
	r.t.Helper()
	a := r.ask(method, target, body, lines...)
	if a.status != status || status >= 400 && a.word() != want || status < 400 && !strings.Contains(a.body, want) {
		r.t.Errorf("%s %s %q: %d %s, want %d %s", method, target, lines, a.status, a.body, status, want)
	}
	return a
}

func (r *rig) publish(topic, text string) pubsub.Published {
	r.t.Helper()
	p, err := r.hub.Publish(context.Background(), pubsub.Message{Topic: topic, Payload: []byte(text)}, pubsub.PublishOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// connect opens a WebSocket.
func (r *rig) connect(target string, lines ...string) *servertest.Client {
	r.t.Helper()
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	c, err := r.srv.Upgrade(&ws.ClientRequest{Target: target, Header: lines})
	if err != nil {
		r.t.Fatalf("%s: %v", target, err)
	}
	r.srv.WaitIdle()
	return c
}

// eventually waits until what is true.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(servertest.Patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("it is not so: %s", what)
		}
	}
}

// TestRightsJSON: whoever may read no history may not by way of JSON.
func TestRightsJSON(t *testing.T) {
	text, err := json.Marshal(gateway.Rights{Subscribe: []string{"#"}, History: []string{}})
	var back gateway.Rights
	if err := errors.Join(err, json.Unmarshal(text, &back)); err != nil || back.History == nil {
		t.Errorf("%s: %+v, %v", text, back, err)
	}
}

// TestOptions: a gateway that would let nobody in, or everybody without being asked to, is not made.
func TestOptions(t *testing.T) {
	hub, err := pubsub.New(&server.Server{}, pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	for _, c := range []struct {
		o    gateway.Options
		want string
	}{
		{gateway.Options{}, "must say who may do what"},
		{gateway.Options{Open: true, Auth: []gateway.Authenticator{some}}, "Open says nothing"},
		{gateway.Options{Open: true, Anonymous: nothing}, "Open says nothing"},
		{gateway.Options{Anonymous: &gateway.Rights{Publish: []string{"a/#/b"}}}, "before the last level"},
		{gateway.Options{Open: true, CORS: []string{"example.com"}}, "want an origin"},
		{gateway.Options{Open: true, CORS: []string{"*"}, Cookie: "session"}, "list the origins"},
		{gateway.Options{Open: true, CORS: []string{"null"}, Cookie: "session"}, "list the origins"},
	} {
		if _, err := gateway.New(hub, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	for _, allowed := range []string{"*", "null", "https://*"} {
		hub.Server().Origin.Allow = []string{"https://a.example", allowed}
		if _, err := gateway.New(hub, gateway.Options{Auth: []gateway.Authenticator{some}, Cookie: "session"}); err == nil || !strings.Contains(err.Error(), "list the origins") {
			t.Errorf("%s: %v", allowed, err)
		}
	}
}
