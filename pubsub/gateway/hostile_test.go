package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/ws"
)

// disguises are ways to say what may not be reached.
var disguises = []string{
	"secret/1", "secret%2F1", "%73ecret/1", "secret/%31", "SECRET/1", "secret", "secret/", "/secret/1", "//secret/1", "secret//1", "./secret/1", "%2e/secret/1",
	"secret/+", "secret/%2B", "secret/%2b", "secret/%23", "secret/#", "+/1", "%2B/1", "#", "%23", "+", "%2B/%23", "+/%23", "secret%252F1", "secret%2F%2B", "%2523",
	"ok/../secret/1", "ok/%2e%2e/secret/1", "ok%2F..%2Fsecret/1", "ok/..%2fsecret%2f1", "ok/#/../secret/1", "ok/%23/../../secret/1", "ok/+/../../secret/1",
	"secret/1%00", "%00secret/1", "secret/1%0A", "secret/1;x", "secret/1%3Fa", "ok/1&topic=secret/1", "ok/1?topic=secret/1", "ok/1?topic=%23", "ok/1?topic=secret%2F%2B", "ok/1%3Ftopic=secret/1",
	"$presence/secret/1", "%24presence/secret/1", "%24presence%2Fsecret%2F1", "$presence/%23", "$presence/+/1", "$presence/%2B/%2B", "$presence", "%24%23", "$/%23", "+/secret/1", "$presence/ok/../secret/1",
	"\uff0b/1", "secret\u2215" + "1", "ok/1/../../secret/1", "ok\\..\\secret\\1", "\u2024\u2024/secret/1",
}

// prefixed are targets that say it in the path and in the query.
func prefixed(area string) (targets []string) {
	for _, d := range disguises {
		path := strings.ReplaceAll(strings.ReplaceAll(d, "#", "%23"), "\\", "%5C")
		path = strings.Map(func(r rune) rune {
			if r > '~' {
				return -1
			}
			return r
		}, path)
		targets = append(targets, area+"/"+path, area+"?topic="+path, area+"?topic="+url.QueryEscape(d), area+"/ok/1?topic="+url.QueryEscape(d), area+"/"+url.PathEscape(d))
	}
	return targets
}

// TestNoWayIn: who may subscribe and publish to ok alone reads nothing of secret, nor who is there, and nothing of
// his gets there, however he says it.
func TestNoWayIn(t *testing.T) {
	t.Parallel()
	who := tokens{
		"eve":  {User: "eve", Rights: gateway.Rights{Subscribe: []string{"ok/#"}, Publish: []string{"ok/#"}, Presence: []string{"ok/#"}, Purge: []string{"ok/#"}}},
		"boss": {User: "boss", Rights: gateway.Rights{Subscribe: []string{"#"}, Presence: []string{"#"}}},
	}
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}, Anonymous: nothing})
	boss := r.connect("/topics/secret/1?topic=%23&token=boss&envelope=1")
	boss.ReceiveText()
	boss.ReceiveText()
	r.publish("secret/1", "TOP-SECRET")
	inside := 0
	for _, target := range prefixed("/topics") {
		for _, more := range []string{"", "envelope=1", "last=100", "since=a-0"} {
			target := target + map[bool]string{true: "&", false: "?"}[strings.Contains(target, "?")] + more
			if _, err := r.srv.Upgrade(&ws.ClientRequest{Target: target, Header: []string{"Authorization: Bearer eve"}}); err == nil {
				inside++ // it may be closed at once
			}
		}
		if a := r.ask("POST", target, "from eve", "Authorization: Bearer eve"); a.status == 200 && !strings.HasPrefix(target, "/topics/ok") && !strings.HasPrefix(target, "/topics?topic=ok") {
			t.Errorf("POST %s: %s", target, a.body)
		}
	}
	for _, area := range []string{"/history", "/presence", "/stats"} {
		for _, target := range prefixed(area) {
			a := r.ask("GET", target, "", "Authorization: Bearer eve")
			if a.status == 200 && !strings.HasPrefix(a.body, `{"topic":"ok`) && !strings.HasPrefix(a.body, `{"topic":"$presence/ok`) || strings.Contains(a.body, "TOP-SECRET") || strings.Contains(a.body, "boss") {
				t.Errorf("GET %s: %d %s", target, a.status, a.body)
			}
			r.ask("DELETE", target, "", "Authorization: Bearer eve")
		}
	}
	talker := r.connect("/topics?envelope=1", "Authorization: Bearer eve")
	for _, d := range disguises {
		for _, ask := range []map[string]any{{"subscribe": d, "last": 100}, {"subscribe": d, "since": "a-0"}, {"subscribe": d}, {"publish": d, "data": "from eve"}} {
			ask["id"] = 1
			text, err := json.Marshal(ask)
			if err != nil {
				t.Fatal(err)
			}
			talker.SendText(string(text))
			got := ""
			for !strings.HasPrefix(got, `{"id":1,`) { // between messages of what is allowed
				if got = talker.ReceiveText(); strings.Contains(got, "TOP-SECRET") {
					t.Error(got)
				}
			}
			if strings.Contains(got, `"ok":true`) && !strings.HasPrefix(d, "ok") && !strings.HasPrefix(d, "$presence/ok") {
				t.Errorf("%s: %s", text, got)
			}
		}
	}
	r.srv.WaitIdle()
	if n := r.publish("secret/1", "TOP-SECRET").Members; n != 2 {
		t.Errorf("%d members of secret/1, want the boss alone, twice", n)
	}
	for _, name := range []string{"$presence/secret/1", "$presence/#", "$presence/+/1", "$presence/+/+", "$presence/secret/+", "$#", "$presence"} {
		if n := r.hub.Count(name); n != 0 {
			t.Errorf("%d members of %s", n, name)
		}
	}
	if past, _, err := r.hub.History("secret/1", pubsub.Position{}, pubsub.HistoryBound{Messages: 100}); err != nil || len(past) != 2 {
		t.Errorf("%d messages are kept, %v: want both", len(past), err)
	}
	if inside < 50 {
		t.Errorf("only %d WebSockets were opened", inside)
	}
}

// TestNobody: without a token there is nothing where nothing was given.
func TestNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}, Anonymous: nothing})
	for _, c := range []struct{ method, target string }{
		{"POST", "/topics/rooms/hall"}, {"GET", "/history/rooms/hall"}, {"DELETE", "/history/rooms/hall"}, {"GET", "/presence/rooms/hall"}, {"GET", "/stats/rooms/hall"},
	} {
		r.expect(401, "unauthorized", c.method, c.target, "x")
		r.expect(401, "unauthorized", c.method, c.target, "x", "Authorization: Bearer ")
		r.expect(401, "unauthorized", c.method, c.target, "x", "Authorization: Basic YW5uOmFubg==")
		r.expect(401, "unauthorized", c.method, c.target, "x", "Cookie: token=ann")
		r.expect(401, "unauthorized", c.method, c.target, "x", "X-Token: ann")
		r.expect(401, "unauthorized", c.method, c.target, "x", "Authorization: Bearer nobody")
		for _, field := range []string{"ann", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "Token ann", "Bearer:ann", "ApiKey ann"} {
			if a := r.expect(401, "unauthorized", c.method, c.target, "x", "Authorization: "+field); !strings.Contains(a.body, "Authorization is not `Bearer TOKEN`") {
				t.Errorf("%s: %s", field, a.body)
			}
		}
		a := r.expect(401, "unauthorized", c.method, c.target+"?token=nobody", "x")
		if b := r.ask(c.method, c.target, "x"); b.header.Get("WWW-Authenticate") == "" || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%v, %v", a.header, b.header)
		}
	}
	for _, word := range []string{"subscribe", "publish"} {
		c := r.connect("/topics?envelope=1")
		say(t, c, fmt.Sprintf(`{"id":1,%q:"rooms/hall"%s}`, word, map[string]string{"publish": `,"data":""`}[word]),
			fmt.Sprintf(`{"id":1,"error":"unauthorized","message":"no right to %s to \"rooms/hall\" without a token"}`, word))
	}
}

// FuzzTarget: what a URL names is what stands there, decoded once.
func FuzzTarget(f *testing.F) {
	for _, d := range disguises {
		f.Add(d, "topic="+d)
	}
	f.Fuzz(func(t *testing.T, rest, query string) {
		topics, err := gateway.ParseTarget(rest, query)
		if err != nil {
			return
		}
		want, _ := url.ParseQuery(query)
		names := want["topic"]
		if rest != "" {
			name, err := url.PathUnescape(rest)
			if err != nil || slices.ContainsFunc(strings.Split(name, "/"), func(level string) bool { return level == "" || level == "." || level == ".." }) {
				t.Errorf("%q is taken", rest)
			}
			names = append(names, name)
		}
		for _, topic := range topics {
			if !slices.Contains(names, topic) {
				t.Errorf("%q and %q: %q", rest, query, topics)
			}
		}
	})
}
