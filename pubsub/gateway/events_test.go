package gateway_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/sse"
)

// stream is an event stream that is read.
type stream struct {
	*sse.Reader
	t    *testing.T
	end  context.CancelFunc
	resp *http.Response
	last string // id

	patience time.Duration // for an event
}

// tryStream opens an event stream, and gives its answer.
func (r *rig) tryStream(target string, lines ...string) *stream {
	r.t.Helper()
	ctx, end := context.WithCancel(r.t.Context())
	req := r.request(ctx, "GET", target, "", lines...)
	req.Header.Set("Accept", "text/event-stream")
	client := r.srv.HTTP()
	client.Timeout = 0 // it would be that of all that comes
	patience := servertest.Patience
	if r.endless {
		patience = math.MaxInt64
	}
	impatient := time.AfterFunc(patience, end)
	resp, err := client.Do(req)
	if impatient.Stop(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		end()
		_ = resp.Body.Close() // many tests have left
	})
	return &stream{sse.NewReader(resp.Body), r.t, end, resp, "", patience}
}

func (r *rig) stream(target string, lines ...string) *stream {
	r.t.Helper()
	s := r.tryStream(target, lines...)
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("%s: %v", target, s.resp)
	}
	return s
}

// next waits for an event.
func (s *stream) next() sse.Event {
	s.t.Helper()
	impatient := time.AfterFunc(s.patience, s.end)
	defer impatient.Stop()
	e, err := s.Next()
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// expect waits for events: name, data and whether there is an id.
func (s *stream) expect(want ...string) {
	s.t.Helper()
	for _, want := range want {
		e := s.next()
		got := fmt.Sprintf("%s %s", e.Name, plain(string(e.Data)))
		if e.ID != s.last { // it stays until another one comes
			got += " id"
		}
		s.last = e.ID
		if got != want {
			s.t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestEvents: a topic as an event stream.
func TestEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	s := r.stream("/topics/a/b")
	s.expect(`subscribed {"topics":[{"topic":"a/b","position":P,"recovered":false,"sent":0}]} id`)
	r.publish("a/b", "one\ntwo")
	s.expect("message one\ntwo id")
	r.expect(200, "position", "POST", "/topics/a/b", "not kept", "Millrace-Not-Kept: 1")
	s.expect("message not kept")
	r.expect(200, "position", "POST", "/topics/a/b", "\xff", "Content-Type: application/octet-stream") // raw event streams have no bytes
	r.publish("a/b", "three")
	s.expect("message three id")
	wrapped := r.stream("/topics/a/b?envelope=1&last=1")
	wrapped.expect(`subscribed {"topics":[{"topic":"a/b","recovered":false,"sent":1}]}`, `message {"topic":"a/b","position":P,"time":T,"data":"three"} id`)
	r.expect(200, "position", "POST", "/topics/a/b", "\xff", "Content-Type: application/octet-stream")
	wrapped.expect(`message {"topic":"a/b","position":P,"time":T,"binary":"/w=="} id`)
	several := r.stream("/topics/a/b?topic=c/%23&last=1&envelope=1")
	several.expect(`subscribed {"topics":[{"topic":"a/b","recovered":false,"sent":1}]}`, `message {"topic":"a/b","position":P,"time":T,"binary":"/w=="} id`,
		`subscribed {"topics":[{"topic":"c/#","recovered":false,"sent":0}]}`)
	if st := r.g.Stats(); st.Open["events"] != 3 {
		t.Errorf("%+v", st)
	}
	s.end()
	wrapped.end()
	several.end()
	r.eventually("they are gone", func() bool { return r.hub.Stats().Subscriptions == 0 && r.g.Stats().Open["events"] == 0 })
}

// TestLastEventID: a stream goes on, or says that something is missing.
func TestLastEventID(t *testing.T) {
	t.Parallel()
	who := tokens{"a": {Rights: gateway.Rights{Subscribe: []string{"#"}, History: []string{}}}}
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}, Anonymous: &gateway.Rights{Subscribe: []string{"a", "b", "brief/#", "rooms/#"}}})
	var at []pubsub.Position
	for i := range 3 {
		at = append(at, r.publish("a", fmt.Sprint(i)).Position)
		r.publish("brief/a", fmt.Sprint(i))
	}
	first, last := "Last-Event-ID: "+at[0].String(), "Last-Event-ID: "+at[2].String()
	r.stream("/topics/a", first).expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":true,"sent":2}]} id`, "message 1 id", "message 2 id")
	r.stream("/topics/a", last).expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":true,"sent":0}]} id`)
	r.stream("/topics/a?since=old-1&last=1", first).expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":true,"sent":2}]} id`) // the header comes first
	r.stream("/topics/a?since="+at[1].String()).expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":true,"sent":1}]} id`, "message 2 id")
	r.stream("/topics/a", "Last-Event-ID: old-1").expect(`subscribed {"topics":[{"topic":"a","recovered":false,"sent":3}]}`, "message 0 id")
	r.stream("/topics/a", "Last-Event-ID: what?").expect(`subscribed {"topics":[{"topic":"a","recovered":false,"sent":3}]}`, "message 0 id")
	r.stream("/topics/brief/a", first).expect(`subscribed {"topics":[{"topic":"brief/a","recovered":false,"sent":2}]}`, "message 1 id", "message 2 id")
	// An id of one topic says nothing of others.
	several := r.stream("/topics/a?topic=b", last)
	several.expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":false,"sent":0}]}`, `subscribed {"topics":[{"topic":"b","position":P,"recovered":false,"sent":0}]}`)
	r.stream("/topics/rooms/%23", last).expect(`subscribed {"topics":[{"topic":"rooms/#","recovered":false,"sent":0}]}`)
	// But the client may know it of each.
	r.stream("/topics/a?topic=b&since="+at[1].String()+"&since="+at[0].String()).expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":true,"sent":1}]}`,
		"message 2 id", `subscribed {"topics":[{"topic":"b","position":P,"recovered":false,"sent":0}]}`)
}

// TestLastOfEach: a stream of several topics may say of each with how many it begins.
func TestLastOfEach(t *testing.T) {
	t.Parallel()
	who := &gateway.Rights{Subscribe: []string{"#"}, History: []string{"a", "b"}}
	r := newRig(t, gateway.Options{Anonymous: who})
	for i := range 3 {
		r.publish("a", fmt.Sprint(i))
		r.publish("b", fmt.Sprint(i))
		r.publish("unread", fmt.Sprint(i))
	}
	r.stream("/topics/a?topic=unread&topic=b&last=1&last=0&last=2").expect(`subscribed {"topics":[{"topic":"a","recovered":false,"sent":1}]}`, "message 2 id",
		`subscribed {"topics":[{"topic":"unread","position":P,"recovered":false,"sent":0}]}`,
		`subscribed {"topics":[{"topic":"b","recovered":false,"sent":2}]}`, "message 1 id", "message 2 id")
	r.stream("/topics/a?topic=b&last=&last=1").expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":false,"sent":0}]}`,
		`subscribed {"topics":[{"topic":"b","recovered":false,"sent":1}]}`, "message 2 id")
	for target, want := range map[string]int{
		"/topics/a?topic=b&topic=c&last=1&last=2": 400, "/topics/a?last=1&last=2": 400, "/topics/a?topic=b&last=1&last=x": 400,
		"/topics/a?topic=unread&last=1&last=1": 403, "/topics/a?topic=unread&last=1": 403,
	} {
		if s := r.tryStream(target); s.resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", target, s.resp.Status, want)
		}
	}
}

// TestLastEventIDWithoutHistory: who may not read the past gets none of it.
func TestLastEventIDWithoutHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Anonymous: &gateway.Rights{Subscribe: []string{"#"}, History: []string{}}})
	first := r.publish("a", "1").Position
	r.publish("a", "2")
	s := r.stream("/topics/a", "Last-Event-ID: "+first.String())
	s.expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":false,"sent":0}]}`)
	r.publish("a", "3")
	s.expect("message 3 id")
	for _, query := range []string{"last=1", "since=" + first.String()} {
		if s := r.tryStream("/topics/a?" + query); s.resp.StatusCode != 403 {
			t.Errorf("%s: %v", query, s.resp.Status)
		}
	}
}

// TestEventsRefused: by a status, which ends an EventSource for good.
func TestEventsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}, Cookie: "session"})
	for target, want := range map[string]int{
		"/topics": 400, "/topics/a//b": 400, "/topics/%23": 401, "/topics/a?since=x": 400, "/topics/a?token=x": 401, "/topics/$presence/a": 401,
		"/topics/rooms/hall?token=cleaner": 200, "/topics/rooms/%23?token=cleaner": 403, "/topics/rooms/%23?token=ann": 200, "/topics/a": 200,
		"/history/a": 200, "/history/rooms/%23": 400, "/elsewhere": 404, "/topics/" + strings.Repeat("a", 300): 200,
	} {
		s := r.tryStream(target)
		if s.resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", target, s.resp.Status, want)
		}
		if want >= 400 && want != 404 && s.resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", target, s.resp.Header)
		}
	}
	for _, target := range []string{"/topics/%23", "/history/%23"} { // a stream's refusal ends as a plain request's
		if a := r.ask("GET", target, "", "Accept: text/event-stream"); a.status < 400 || !strings.HasSuffix(a.body, "}\n") {
			t.Errorf("%s: %d %q", target, a.status, a.body)
		}
	}
	r.stream("/topics/rooms/%23", "Cookie: session=ann").next() // of a page of ours
	for _, lines := range [][]string{{"Cookie: session=ann", "Origin: http://evil.example"}, {"Cookie: session=ann", "Sec-Fetch-Site: cross-site"}} {
		if s := r.tryStream("/topics/rooms/%23", lines...); s.resp.StatusCode != 403 {
			t.Errorf("%q: %s", lines, s.resp.Status)
		}
	}
}

// TestEventsRefuseTopic: a refused stream says which topic is at fault, also where that shows only when it is open.
func TestEventsRefuseTopic(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, gateway.Options{Auth: []gateway.Authenticator{some}, Anonymous: &gateway.Rights{Subscribe: []string{"#"}, History: []string{}, Literal: true}}, pubsub.Options{Rules: keep, Limits: pubsub.Limits{ConnFilters: 1}}, nil)
	for target, want := range map[string]string{
		"/topics/a?topic=%23/b":                                         `400 {"error":"bad_name","message":"not a topic's name: \"#/b\" has # before the last level","topic":"#/b"}`,
		"/topics/a?topic=rooms/%2B&token=cleaner":                       `403 {"error":"forbidden","message":"no right to subscribe to \"rooms/+\"","topic":"rooms/+"}`,
		"/topics/a?topic=$presence/a":                                   `401 {"error":"unauthorized","message":"no right to subscribe to \"$presence/a\" without a token","topic":"$presence/a"}`,
		"/topics/rooms/hall?topic=a&since=x&token=bob":                  `400 {"error":"bad_request","message":"not a position: \"x\""}`,
		"/topics/rooms/hall?token=bob&topic=rooms/%2B&since=a-1&since=": `403 {"error":"forbidden","message":"no right to read the history of \"rooms/hall\"","topic":"rooms/hall"}`,
		"/topics/a?token=x":                                             `401 {"error":"unauthorized","message":"the token is unknown"}`,
	} {
		s := r.tryStream(target)
		if s.resp.StatusCode == 200 {
			t.Errorf("%s is not refused", target)
			continue
		}
		body, err := io.ReadAll(s.resp.Body)
		if got := fmt.Sprint(s.resp.StatusCode, " ", strings.TrimSpace(string(body))); err != nil || got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	long := strings.Repeat("a", 257)
	s := r.stream("/topics/a?topic=" + long)
	s.expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":false,"sent":0}]}`,
		`refused {"error":"bad_name","message":"not a topic's name: 257 bytes, at most 256 are allowed","topic":"`+long+`"}`,
		`close {"code":1008,"reason":"bad_name: not a topic's name: 257 bytes, at most 256 are allowed"}`)
	s = r.stream("/topics/rooms/a/%23?topic=rooms/b/%23&token=ann")
	s.expect(`subscribed {"topics":[{"topic":"rooms/a/#","recovered":false,"sent":0}]}`)
	if e := s.next(); e.Name != "refused" || !strings.Contains(string(e.Data), `"error":"too_many"`) || !strings.Contains(string(e.Data), `"topic":"rooms/b/#"`) {
		t.Errorf("%s %s", e.Name, e.Data)
	}
}

// TestEventsExpiry: a stream ends with its token, and knows before.
func TestEventsExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{ending(time.Minute)}})
		r.endless = true
		s := r.stream("/topics/a?token=1m0s")
		s.expect(`subscribed {"topics":[{"topic":"a","position":P,"recovered":false,"sent":0}]} id`)
		time.Sleep(time.Minute)
		s.expect(`expires {"expires_in":30}`, `close {"code":3000,"reason":"the token has expired"}`)
		if e, err := s.Next(); err == nil {
			t.Errorf("%+v", e)
		}
	})
}
