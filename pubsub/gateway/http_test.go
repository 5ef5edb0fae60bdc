package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestPublishByPost: the body is the message as it is.
func TestPublishByPost(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	c := r.connect("/topics/a/b")
	for _, m := range []struct {
		body, contentType string
		op                ws.Opcode
	}{
		{"hello", "", ws.Text}, {"", "", ws.Text}, {"\xff", "", ws.Binary}, {"é", "text/plain; charset=UTF-8", ws.Text}, {`{"a":1}`, "application/json", ws.Text},
		{"text", "application/octet-stream", ws.Binary}, {"text", "image/png", ws.Binary}, {"a=b", "application/x-www-form-urlencoded", ws.Text},
	} {
		lines := []string{"Content-Type: " + m.contentType}
		if m.contentType == "" {
			lines = nil
		}
		a := r.expect(200, `"members":1}`, "POST", "/topics/a/b", m.body, lines...)
		got := c.Receive()
		if string(got.Payload) != m.body || got.Opcode != m.op {
			t.Errorf("%q as %q: %v %q", m.body, m.contentType, got.Opcode, got.Payload)
		}
		var p struct{ Position string }
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Position == "" {
			t.Errorf("%s: %v", a.body, err)
		}
	}
	for _, e := range []struct {
		status             int
		word, target, body string
		line               string
	}{
		{400, "bad_request", "/topics/a", "\xff", "Content-Type: text/plain"},
		{400, "bad_request", "/topics/a", "a", "Content-Type: text/plain; charset=latin1"},
		{400, "bad_request", "/topics/a", "a", "Content-Type: ;"},
		{400, "bad_request", "/topics/a", "a", "Millrace-Expires: soon"},
		{400, "bad_request", "/topics/a", "a", "Millrace-Expires: -1"},
		{400, "bad_request", "/topics/a", "a", "Millrace-Expires: NaN"},
		{400, "bad_request", "/topics/a", "a", "Millrace-Not-Kept: perhaps"},
		{400, "bad_request", "/topics", "a", ""},
		{400, "bad_request", "/topics/a?topic=b", "a", ""},
		{400, "bad_name", "/topics/a//b", "a", ""},
		{400, "bad_name", "/topics/a/", "a", ""},
		{400, "bad_name", "/topics/a/..%2fb", "a", ""},
		{400, "bad_name", "/topics/%ff", "a", ""},
		{400, "bad_name", "/topics/" + strings.Repeat("a", 300), "a", ""},
		{403, "forbidden", "/topics/$presence/a", "a", ""},
		{400, "wildcard", "/topics/a/%2B", "a", ""},
		{400, "wildcard", "/topics/a/+", "a", ""},
		{400, "wildcard", "/topics/%23", "a", ""},
		{400, "wildcard", "/topics?topic=a/%2B", "a", ""},
		{400, "bad_name", "/topics/a%23", "a", ""},
		{400, "bad_name", "/topics/%2Ba", "a", ""},
		{400, "bad_name", "/topics?topic=a%23", "a", ""},
		{400, "bad_request", "/topics/a?Topic=a", "a", ""},
		{413, "too_big", "/topics/a", strings.Repeat("a", 1<<20+1), ""},
	} {
		r.expect(e.status, e.word, "POST", e.target, e.body, e.line)
	}
	c.ExpectNothing()
}

// TestHistoryByGet is about what is kept.
func TestHistoryByGet(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	var at []pubsub.Position
	for i := range 5 {
		at = append(at, r.publish("a", fmt.Sprint(i)).Position)
	}
	data := func(a answer) (texts []string, complete bool) {
		t.Helper()
		var past struct {
			Topic    string
			Complete bool
			Messages []struct{ Topic, Position, Time, Data string }
		}
		if err := json.Unmarshal([]byte(a.body), &past); err != nil || past.Topic != "a" || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%+v: %v", a, err)
		}
		for _, m := range past.Messages {
			if m.Topic != "a" || m.Position == "" || m.Time == "" {
				t.Errorf("%+v", m)
			}
			texts = append(texts, m.Data)
		}
		return texts, past.Complete
	}
	for target, want := range map[string]string{
		"/history/a":                                 "[0 1 2 3 4] false",
		"/history?topic=a":                           "[0 1 2 3 4] false",
		"/history/a?limit=2":                         "[0 1] false",
		"/history/a?last=2":                          "[3 4] false",
		"/history/a?last=9":                          "[0 1 2 3 4] false",
		"/history/a?since=" + at[1].String():         "[2 3 4] true",
		"/history/a?since=" + at[4].String():         "[] true",
		"/history/a?limit=1&since=" + at[1].String(): "[2] false",
		"/history/a?limit=3&since=" + at[1].String(): "[2 3 4] true",
		"/history/a?limit=2&last=4":                  "[3 4] false",
		"/history/a?last=1&since=" + at[1].String():  "[2 3 4] true",
		"/history/a?limit=1000000":                   "[0 1 2 3 4] false",
	} {
		texts, complete := data(r.expect(200, "", "GET", target, ""))
		if got := fmt.Sprint(texts, complete); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	r.expect(410, "history_gone", "GET", "/history/a?since=old-1", "")
	r.expect(410, "history_gone", "GET", "/history/none/a?since="+at[1].String(), "")
	r.expect(200, `{"topic":"none/a","messages":[],"complete":false}`, "GET", "/history/none/a", "")
	r.expect(400, "bad_request", "GET", "/history/a?since=x", "")
	r.expect(400, "bad_request", "GET", "/history/a?limit=-1", "")
	if a := r.expect(400, "bad_request", "GET", "/history/a?lst=1", ""); !strings.Contains(a.body, "lst") {
		t.Error(a.body)
	}
	long := strings.Repeat("a", 600<<10)
	first := r.publish("long", "first").Position
	r.publish("long", long)
	r.publish("long", long)
	if a := r.expect(200, "", "GET", "/history/long?since="+first.String(), ""); !strings.Contains(a.body, `"complete":false`) {
		t.Error("a part of what is kept is complete")
	}
	r.expect(400, "wildcard", "GET", "/history/%23", "")
	r.expect(200, `{"topic":"a","subscribers":0,"messages":5,"bytes":5,"position":"`+at[4].String()+`"}`, "GET", "/stats/a", "")
	r.expect(204, "", "DELETE", "/history/a", "")
	r.expect(410, "history_gone", "GET", "/history/a?since="+at[1].String(), "")
	r.expect(200, `"messages":0,"bytes":0`, "GET", "/stats/a", "")
}

// TestPresenceByGet is about who is there.
func TestPresenceByGet(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}})
	r.connect("/topics/rooms/hall?info=%7B%22a%22:1%7D", "Authorization: Bearer ann")
	r.connect("/topics/rooms/hall")
	a := r.expect(200, `{"topic":"rooms/hall","count":2,"members":[`, "GET", "/presence/rooms/hall", "", "Authorization: Bearer bob")
	if !strings.Contains(a.body, `"user":"ann","info":{"a":1}}`) {
		t.Error(a.body)
	}
	r.expect(200, `"count":2,"members":[{`, "GET", "/presence/rooms/hall?limit=1", "", "Authorization: Bearer bob")
	r.expect(403, "forbidden", "GET", "/presence/rooms/hall", "", "Authorization: Bearer ann")
	r.expect(400, "bad_request", "GET", "/presence/news", "", "Authorization: Bearer watcher")
	r.expect(400, "bad_request", "GET", "/presence/$presence/rooms/hall", "", "Authorization: Bearer watcher")
	if end := r.connect("/topics/$presence/news?token=watcher").ReceiveClose(); end.Reason != `bad_request: nobody is told who is at "news": the topic's rule has no presence` {
		t.Errorf("%v", end)
	}
	say(t, r.connect("/topics?envelope=1&token=watcher"), `{"id":1,"subscribe":"$presence/news"}`, `{"id":1,"error":"bad_request","message":"nobody is told who is at \"news\": the topic's rule has no presence"}`)
	say(t, r.connect("/topics?envelope=1&token=watcher"), `{"id":1,"subscribe":"$presence/news/+"}`, `{"id":1,"error":"bad_request","message":"nobody is told who is at \"news/+\": the topic's rule has no presence"}`)
	r.expect(403, "forbidden", "GET", "/presence/rooms/attic", "", "Authorization: Bearer bob")
	r.expect(401, "unauthorized", "GET", "/presence/rooms/hall", "")
}

// TestPaths: other paths, methods and plain GETs.
func TestPaths(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	for target, want := range map[string]int{"/": 404, "/topicsa": 404, "/histories/a": 404} {
		if got := r.ask("GET", target, ""); got.status != want {
			t.Errorf("%s: %d, want %d", target, got.status, want)
		}
	}
	refused := uint64(0)
	for _, c := range []struct{ method, target, allow string }{
		{"PUT", "/topics/a", "GET, POST"}, {"DELETE", "/topics/a", "GET, POST"}, {"POST", "/history/a", "GET, DELETE"}, {"POST", "/presence/a", "GET"},
		{"DELETE", "/stats/a", "GET"}, {"POS", "/topics/a", "GET, POST"}, {"ET", "/topics/a", "GET, POST"},
	} {
		a := r.ask(c.method, c.target, "")
		if a.status != 405 && a.status != 501 || a.status == 405 && a.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %+v", c.method, c.target, a)
		}
		if a.status == 405 {
			refused++
		}
	}
	if a := r.expect(426, "bad_request", "GET", "/topics/a", ""); a.header.Get("Upgrade") != "websocket" {
		t.Errorf("%+v", a)
	}
	if got := r.g.Stats().Refused[gateway.BadRequest]; got != refused+1 {
		t.Errorf("%d requests are counted as refused, want %d", got, refused+1)
	}
	if a := r.ask("HEAD", "/history/a", ""); a.status != 200 || a.body != "" {
		t.Errorf("%+v", a)
	}
	for _, target := range []string{"/", "/history/a", "/topicsa"} {
		if _, err := r.srv.Upgrade(&ws.ClientRequest{Target: target}); err == nil {
			t.Errorf("a WebSocket at %s", target)
		}
	}
}

// TestPlainGetOverHTTP2: the answer has no field that HTTP/2 forbids.
func TestPlainGetOverHTTP2(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	web := httptest.NewUnstartedServer(r.g.HTTP(nil))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	resp, err := web.Client().Get(web.URL + "/topics/a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 426 || resp.Header.Get("Upgrade") != "" || resp.Header.Get("Connection") != "" {
		t.Errorf("%v", resp)
	}
}

// TestPostRate: each poster has a rate.
func TestPostRate(t *testing.T) {
	t.Parallel()
	who := tokens{"a": {User: "a", Rights: gateway.Rights{Publish: []string{"#"}, Purge: []string{"#"}}}, "b": {User: "b", Rights: gateway.Rights{Publish: []string{"#"}, Purge: []string{"#"}}}}
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}, PublishRate: 1, PublishBurst: 3, Anonymous: &gateway.Rights{Publish: []string{"#"}}})
	for _, line := range []string{"Authorization: Bearer a", "Authorization: Bearer b"} {
		for range 2 {
			r.expect(200, "position", "POST", "/topics/x", "m", line)
		}
		r.expect(204, "", "DELETE", "/history/x", "", line) // counts too
		for i := 0; ; i++ {
			a := r.ask("POST", "/topics/x", "m", line)
			if a.status == 429 && a.word() == "too_fast" && strings.Contains(a.body, "1 messages a second, and 3 at once") && a.header.Get("Retry-After") != "" {
				break
			}
			if i > 100 {
				t.Fatalf("%s: %+v", line, a)
			}
		}
	}
}

// TestCORS: pages of other origins get answers where that is allowed.
func TestCORS(t *testing.T) {
	t.Parallel()
	const page, other, third = "Origin: https://page.example", "Origin: https://other.example", "Origin: https://third.example"
	o := gateway.Options{Open: true, CORS: []string{"https://page.example"}}
	r := newRigWith(t, o, pubsub.Options{Rules: keep}, func(s *server.Server) { s.Origin.Allow = []string{"https://page.example", "https://other.example"} })
	a := r.expect(200, "position", "POST", "/topics/a", "x", page)
	if a.header.Get("Access-Control-Allow-Origin") != "https://page.example" || a.header.Get("Vary") != "Origin" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v", a.header)
	}
	a = r.expect(204, "", "OPTIONS", "/topics/a", "", page, "Access-Control-Request-Method: POST")
	if a.header.Get("Access-Control-Allow-Methods") != "GET, POST" || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization, Content-Type, Last-Event-ID") {
		t.Errorf("%v", a.header)
	}
	a = r.expect(200, "position", "POST", "/topics/a", "x", other)
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", a.header)
	}
	if a = r.ask("OPTIONS", "/topics/a", "", other, "Access-Control-Request-Method: POST"); a.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("%v", a.header)
	}
	r.expect(403, "forbidden", "POST", "/topics/a", "x", third)
	r.expect(403, "forbidden", "OPTIONS", "/topics/a", "x", third, "Access-Control-Request-Method: POST")
	r.expect(403, "forbidden", "GET", "/history/a", "", third)
}

// TestPostRateByAddress: whoever has an IPv6 network has the rate of one.
func TestPostRateByAddress(t *testing.T) {
	t.Parallel()
	o := gateway.Options{Anonymous: &gateway.Rights{Publish: []string{"#"}}, PublishRate: 1, PublishBurst: 1}
	r := newRigWith(t, o, pubsub.Options{}, func(s *server.Server) {
		s.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	})
	for _, c := range []struct {
		addr string
		want int
	}{{"2001:db8::1", 200}, {"2001:db8::2", 429}, {"2001:db8:0:0:ffff::", 429}, {"2001:db8:0:1::1", 200}, {"192.0.2.1", 200}, {"192.0.2.2", 200}, {"::ffff:192.0.2.2", 429}} {
		if a := r.ask("POST", "/topics/a", "x", "X-Forwarded-For: "+c.addr); a.status != c.want {
			t.Errorf("%s: %+v, want %d", c.addr, a, c.want)
		}
	}
}
