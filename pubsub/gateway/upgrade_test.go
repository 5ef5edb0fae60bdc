package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestRaw: payloads as they are, both ways.
func TestRaw(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	a, b, many := r.connect("/topics/a"), r.connect("/topics/b"), r.connect("/topics/a?topic=b&topic=c/%2B&topic=a")
	a.SendText("to a")
	a.SendBinary([]byte{0, 255})
	for _, c := range []interface{ Receive() ws.Message }{a, many} {
		if m := c.Receive(); m.Opcode != ws.Text || string(m.Payload) != "to a" {
			t.Errorf("%v", m)
		}
		if m := c.Receive(); m.Opcode != ws.Binary || string(m.Payload) != "\x00\xff" {
			t.Errorf("%v", m)
		}
	}
	r.publish("b", "to b")
	r.publish("c/1", "to c")
	if b.ReceiveText() != "to b" || many.ReceiveText() != "to b" || many.ReceiveText() != "to c" {
		t.Error("other messages")
	}
	a.ExpectNothing()
	many.SendText("to whom?")
	if end := many.ReceiveClose(); end.Code != ws.CodePolicy {
		t.Errorf("%v", end)
	}
	r.eventually("it is gone", func() bool { return r.hub.Count("c/+") == 0 })
	if s := r.g.Stats(); s.Open["raw"] != 2 || s.Refused[gateway.BadRequest] != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRawPast: what a URL asks of the past.
func TestRawPast(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	var at []pubsub.Position
	for i := range 4 {
		at = append(at, r.publish("a", fmt.Sprint(i)).Position)
	}
	for target, want := range map[string]string{
		"/topics/a":                                             "",
		"/topics/a?last=2":                                      "2 3",
		"/topics/a?since=" + at[0].String():                     "1 2 3",
		"/topics/a?since=" + at[3].String():                     "",
		"/topics/a?last=1&since=" + at[0].String():              "1 2 3",
		"/topics/a?topic=b&since=" + at[2].String() + "&since=": "3",
		"/topics/b?topic=a&last=0&last=2":                       "2 3",
	} {
		c := r.connect(target)
		for text := range strings.FieldsSeq(want) {
			if got := c.ReceiveText(); got != text {
				t.Errorf("%s: %q, want %q", target, got, text)
			}
		}
		c.ExpectNothing()
	}
	for _, target := range []string{"/topics/a?since=old-3", "/topics/none/a?since=" + at[0].String(), "/topics/%23?since=" + at[0].String()} {
		if end := r.connect(target).ReceiveClose(); end.Code != gateway.CodeHistoryGone {
			t.Errorf("%s: %v", target, end)
		}
	}
	if s := r.g.Stats(); s.Recovered != 4 || s.Missing != 0 || s.Refused[gateway.HistoryGone] != 3 {
		t.Errorf("%+v", s)
	}
}

// TestURLs: what can not be is closed, with a word.
func TestURLs(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	for target, want := range map[string]string{
		"/topics":                             "1008 bad_request",
		"/topics/":                            "1008 bad_request",
		"/topics/a//b":                        "1008 bad_name",
		"/topics/a/%2e%2e/b":                  "1008 bad_name",
		"/topics/%00":                         "1008 bad_name",
		"/topics/%ff":                         "1008 bad_name",
		"/topics/%23/a":                       "1008 bad_name",
		"/topics/" + strings.Repeat("a", 257): "1008 bad_name",
		"/topics/" + strings.Repeat("a/", 16) + "a": "1008 bad_name",
		"/topics?topic=":                "1008 bad_name",
		"/topics/a?since=x":             "1008 bad_request",
		"/topics/a?since=a-1&since=a-2": "1008 bad_request",
		"/topics/a?last=x":              "1008 bad_request",
		"/topics/a?last=99999999999":    "1008 bad_request",
		"/topics/a?last=1&last=2":       "1008 bad_request",
		"/topics/a?envelope=2":          "1008 bad_request",
		"/topics/a?info=x":              "1008 bad_request",
		"/topics/a?info=%22" + strings.Repeat("a", 2000) + "%22": "1008 bad_request",
		"/topics/a?b=%": "1008 bad_request",
		"/topics?topic=a&topic=b" + strings.Repeat("&topic=c", 3): "",
	} {
		c := r.connect(target)
		if want == "" {
			c.ExpectNothing()
			continue
		}
		end := c.ReceiveClose()
		if got := fmt.Sprint(uint16(end.Code), " ", end.Reason); !strings.HasPrefix(got, want+": ") {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	var many strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&many, "&topic=%d", i)
	}
	if end := r.connect("/topics/a?" + many.String()[1:]).ReceiveClose(); !strings.HasPrefix(end.Reason, "too_many: ") {
		t.Errorf("%v", end)
	}
	judging := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}}) // it does not judge the token of too many
	if end := judging.connect("/topics/a?token=broken" + many.String()).ReceiveClose(); !strings.HasPrefix(end.Reason, "too_many: ") {
		t.Errorf("%v", end)
	}
	if n := r.hub.Stats().Subscriptions; n != 3 {
		t.Errorf("%d subscriptions", n)
	}
}

// TestWhoMay: of URLs.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}, Anonymous: &gateway.Rights{Subscribe: []string{"news/#"}, History: []string{}, Literal: true}, Cookie: "session"})
	for _, c := range []struct {
		target, line string
		want         ws.Code // 0: it stays open
	}{
		{"/topics/news/1", "", 0}, {"/topics/news/%2B", "", 3000}, {"/topics/news/%23", "", 3000}, {"/topics/rooms/hall", "", 3000}, {"/topics/news/1?last=1", "", 3003},
		{"/topics/news/1?since=a-1", "", 3003}, {"/topics/%23", "", 3000}, {"/topics/$presence/news/1", "", 3000}, {"/topics/$presence/%23", "", 3000}, {"/topics/%24presence/news/1", "", 3000},
		{"/topics/$SYS/a", "", 3000}, {"/topics/news/1?topic=rooms/hall", "", 3000},
		{"/topics/rooms/hall", "Authorization: Bearer ann", 0}, {"/topics/rooms/hall", "Authorization: bearer  ann", 0}, {"/topics/rooms/hall?token=ann", "", 0}, {"/topics/rooms/%23?token=ann", "", 0},
		{"/topics/rooms?token=ann", "", 0}, {"/topics/rooms/%2B/x?token=ann", "", 0}, {"/topics/%2B/hall?token=ann", "", 3003}, {"/topics/%23?token=ann", "", 3003},
		{"/topics/rooms/hall?token=ann&last=5", "", 0}, {"/topics/news/1?token=ann", "", 0}, {"/topics/news/%2B?token=ann", "", 3003},
		{"/topics/rooms/hall?token=bob", "", 0}, {"/topics/rooms/%2B?token=bob", "", 0}, {"/topics/rooms/%23?token=bob", "", 3003}, {"/topics/rooms/hall?token=bob&last=5", "", 3003},
		{"/topics/$presence/rooms/hall?token=bob", "", 0}, {"/topics/$presence/rooms/%2B?token=bob", "", 3003}, {"/topics/$presence/rooms/hall?token=ann", "", 3003},
		{"/topics/rooms/hall?token=nobody", "", 3000}, {"/topics/news/1?token=nobody", "", 3000}, {"/topics/rooms/hall?token=broken", "", 3000}, {"/topics/news/1", "Authorization: Bearer " + strings.Repeat("a", 9000), 3000},
		{"/topics/rooms/hall?token=ann", "Authorization: Bearer nobody", 3000}, {"/topics/news/1", "Authorization: Basic YTpi", 0}, {"/topics/news/1", "Authorization: Bearer ", 0}, {"/topics/news/1", "Authorization: ann", 3000},
		{"/topics/rooms/hall?token=ann", "Authorization: Token ann", 3000}, {"/topics/rooms/hall?token=ann", "Authorization: Basic YTpi", 0}, {"/topics/rooms/hall?token=ann", "Authorization: Negotiate YTpi", 0},
		{"/topics/rooms/hall", "Cookie: session=ann", 3003}, {"/topics/news/1", "Cookie: session=nobody", 3003}, {"/topics/news/1", "Cookie: other=nobody", 0},
	} {
		client := r.connect(c.target, c.line)
		if c.want == 0 {
			client.ExpectNothing()
		} else if end := client.ReceiveClose(); end.Code != c.want {
			t.Errorf("%s %s: %v, want %d", c.target, c.line, end, c.want)
		}
	}
	for origin, want := range map[string]ws.Code{"http://example.com": 0} {
		c, err := r.srv.Upgrade(&ws.ClientRequest{Target: "/topics/rooms/hall", Origin: origin, Header: []string{"Cookie: session=ann"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.ExpectNothing(); want != 0 {
			t.Error(want)
		}
	}
	if _, err := r.srv.Upgrade(&ws.ClientRequest{Target: "/topics/rooms/hall", Origin: "http://evil.example", Header: []string{"Cookie: session=ann"}}); err == nil {
		t.Error("a page elsewhere got in")
	}
	// What is sent to a topic without the right to publish.
	for target, want := range map[string]ws.Code{
		"/topics/news/1": 3000, "/topics/rooms/attic?token=ann": 3003, "/topics/rooms/hall?token=bob": 3003,
		"/topics/rooms/%2B?token=ann": ws.CodePolicy, "/topics/rooms/hall?topic=rooms/x/ann&token=ann": ws.CodePolicy, // not one topic
	} {
		c := r.connect(target)
		c.SendText("x")
		if end := c.ReceiveClose(); end.Code != want {
			t.Errorf("%s: %v, want %d", target, end, want)
		}
	}
	c := r.connect("/topics/rooms/x/ann?token=ann")
	c.SendText("x")
	if got := c.ReceiveText(); got != "x" {
		t.Errorf("%q", got)
	}
}

// TestCookieFromElsewhere: where an application checks origins itself, a page elsewhere can not act, nor listen, for its
// visitor all the same.
func TestCookieFromElsewhere(t *testing.T) {
	t.Parallel()
	o := gateway.Options{Auth: []gateway.Authenticator{some}, Anonymous: nothing, Cookie: "session"}
	r := newRigWith(t, o, pubsub.Options{Rules: keep}, func(s *server.Server) { s.Origin.Check = func(*ws.Request) bool { return true } })
	const cookie = "Cookie: session=ann"
	for _, lines := range [][]string{{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: null"}} {
		lines = append(lines, cookie)
		if s := r.tryStream("/topics/rooms/hall", lines...); s.resp.StatusCode != 403 {
			t.Errorf("%q: %s", lines, s.resp.Status)
		}
		r.expect(403, "forbidden", "GET", "/history/rooms/hall", "", lines...)
		r.expect(403, "forbidden", "POST", "/topics/rooms/hall", "x", lines...)
	}
	for _, lines := range [][]string{nil, {"Sec-Fetch-Site: same-origin"}, {"Sec-Fetch-Site: none"}, {"Sec-Fetch-Site: same-site", "Origin: https://friend.example"}} {
		lines = append(lines, cookie)
		r.stream("/topics/rooms/hall", lines...).next()
		r.expect(200, "messages", "GET", "/history/rooms/hall", "", lines...)
	}
	c, err := r.srv.Upgrade(&ws.ClientRequest{Target: "/topics/rooms/hall", Origin: "null", Header: []string{cookie}})
	if err != nil {
		t.Fatal(err)
	}
	if end := c.ReceiveClose(); end.Code != gateway.CodeForbidden {
		t.Errorf("%v", end)
	}
	r.stream("/topics/rooms/hall?token=ann", "Sec-Fetch-Site: cross-site").next() // a token that no browser adds by itself
}

// TestRawOrEnvelopes: who asks for both gets neither.
func TestRawOrEnvelopes(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	for offer, want := range map[string]ws.Code{"millrace.raw.v1": ws.CodePolicy, "millrace.topics.v1": 0, "": 0} {
		c, err := r.srv.Upgrade(&ws.ClientRequest{Target: "/topics/a?envelope=1", Subprotocol: offer})
		if err != nil {
			t.Fatal(err)
		}
		if want != 0 {
			if end := c.ReceiveClose(); end.Code != want || !strings.Contains(end.Reason, "contradict") {
				t.Errorf("%s: %v", offer, end)
			}
			continue
		}
		say(t, c, "", `{"subscribed":{"topic":"a","position":P,"recovered":false,"sent":0}}`)
	}
}
