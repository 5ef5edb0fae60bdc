package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

var (
	positions = regexp.MustCompile(`"position":"[A-Z0-9]+-[0-9]+"`)
	times     = regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	ids       = regexp.MustCompile(`\\"id\\":\\"[0-9a-f.]+\\"`)
)

// plain is a text without what is another one each time.
func plain(text string) string {
	text = positions.ReplaceAllString(text, `"position":P`)
	return ids.ReplaceAllString(times.ReplaceAllString(text, `"time":T`), `\"id\":ID`)
}

// say sends an envelope and expects what comes.
func say(t *testing.T, c *servertest.Client, text string, want ...string) {
	t.Helper()
	if text != "" {
		c.SendText(text)
	}
	for _, want := range want {
		got := c.ReceiveText()
		conform(t, "fromServer", got)
		if plain(got) != want {
			t.Errorf("%s: %s, want %s", text, plain(got), want)
		}
	}
}

// TestEnvelopes is what a client may say.
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	c := r.connect("/topics?envelope=1")
	say(t, c, `{"id":1,"subscribe":"a/b"}`, `{"id":1,"ok":true,"topic":"a/b","position":P,"recovered":false,"sent":0}`)
	say(t, c, `{"id":2,"publish":"a/b","data":"<hel\"lo>"}`, `{"topic":"a/b","position":P,"time":T,"data":"<hel\"lo>"}`, `{"id":2,"ok":true,"position":P,"members":1}`)
	say(t, c, `{"id":3,"publish":"a/b","binary":"AP8=","key":"k","expires":0.5,"kept":false}`, `{"topic":"a/b","position":P,"kept":false,"time":T,"binary":"AP8="}`, `{"id":3,"ok":true,"position":P,"members":1}`)
	say(t, c, `{"id":4,"subscribe":"a/b"}`, `{"id":4,"ok":true,"topic":"a/b","again":true}`)
	say(t, c, `{"id":5,"subscribe":"a/+"}`, `{"id":5,"ok":true,"topic":"a/+","recovered":false,"sent":0}`)
	say(t, c, `{"id":6,"unsubscribe":"a/b"}`, `{"id":6,"ok":true,"topic":"a/b"}`)
	say(t, c, `{"id":7,"publish":"a/b","data":""}`, `{"topic":"a/b","position":P,"time":T,"data":""}`, `{"id":7,"ok":true,"position":P,"members":1}`)
	say(t, c, `{"id":8,"unsubscribe":"a/b"}`, `{"id":8,"error":"bad_request","message":"not subscribed to \"a/b\""}`)
	say(t, c, `{"id":9,"ping":true}`, `{"id":9,"ok":true}`)
	say(t, c, `{"id":9007199254740991,"subscribe":"past","last":5}`, `{"id":9007199254740991,"ok":true,"topic":"past","position":P,"recovered":false,"sent":0}`)
	r.publish("past", "1")
	say(t, c, "", `{"topic":"past","position":P,"time":T,"data":"1"}`)

	// Presence, with what a member tells of itself.
	watcher := r.connect("/topics/$presence/rooms/hall?envelope=1")
	say(t, watcher, "", `{"subscribed":{"topic":"$presence/rooms/hall","position":P,"recovered":false,"sent":0}}`)
	say(t, c, `{"id":10,"subscribe":"rooms/hall","info":{"a":1}}`, `{"id":10,"ok":true,"topic":"rooms/hall","position":P,"recovered":false,"sent":0}`)
	say(t, watcher, "", `{"topic":"$presence/rooms/hall","kept":false,"time":T,"data":"{\"event\":\"join\",\"topic\":\"rooms/hall\",\"member\":{\"id\":ID,\"info\":{\"a\":1}}}"}`)
	c.Abort()
	say(t, watcher, "", `{"topic":"$presence/rooms/hall","kept":false,"time":T,"data":"{\"event\":\"leave\",\"topic\":\"rooms/hall\",\"member\":{\"id\":ID,\"info\":{\"a\":1}}}"}`)
}

// wrongEnvelopes have the number and the word of the answer.
var wrongEnvelopes = map[string]string{
	"":                                     "bad_request",
	"x":                                    "bad_request",
	"[]":                                   "bad_request",
	"null":                                 "bad_request",
	`{"id":1}`:                             "1 bad_request",
	`{}`:                                   "bad_request",
	`{"ping":true}`:                        "bad_request",
	`{"id":0,"ping":true}`:                 "bad_request",
	`{"id":-1,"ping":true}`:                "bad_request",
	`{"id":1.5,"ping":true}`:               "bad_request",
	`{"id":"1","ping":true}`:               "bad_request",
	`{"id":9007199254740992,"ping":true}`:  "bad_request",
	`{"id":1,"ping":false}`:                "1 bad_request",
	`{"id":1,"ping":true,"subscribe":"a"}`: "1 bad_request",
	`{"id":1,"ping":true} {"id":2,"ping":true}`:                           "1 bad_request",
	`{"id":1,"pong":true}`:                                                "1 bad_request",
	`{"id":1,"ping":true,"since":"a-1"}`:                                  "1 bad_request",
	`{"id":1,"subscribe":"a","data":"x"}`:                                 "1 bad_request",
	`{"id":1,"subscribe":"a","since":"x"}`:                                "1 bad_request",
	`{"id":1,"subscribe":"a","last":-1}`:                                  "1 bad_request",
	`{"id":1,"subscribe":"a","last":2000000}`:                             "1 bad_request",
	`{"id":1,"subscribe":""}`:                                             "1 bad_name",
	`{"id":1,"subscribe":"a/#/b"}`:                                        "1 bad_name",
	`{"id":1,"subscribe":"a+"}`:                                           "1 bad_name",
	`{"id":1,"subscribe":"\u0000"}`:                                       "1 bad_name",
	`{"id":1,"subscribe":"` + strings.Repeat("a", 257) + `"}`:             "1 bad_name",
	`{"id":1,"subscribe":"a","info":"` + strings.Repeat("a", 2000) + `"}`: "1 bad_request",
	`{"id":1,"unsubscribe":"a"}`:                                          "1 bad_request",
	`{"id":1,"publish":"a"}`:                                              "1 bad_request",
	`{"id":1,"publish":"a","data":"x","binary":""}`:                       "1 bad_request",
	`{"id":1,"publish":"a","binary":"?"}`:                                 "1 bad_request",
	`{"id":1,"publish":"a","data":1}`:                                     "1 bad_request",
	`{"id":1,"publish":"a","data":"","expires":-1}`:                       "1 bad_request",
	`{"id":1,"publish":"a","data":"","expires":1e99}`:                     "1 bad_request",
	`{"id":1,"publish":"a/+","data":""}`:                                  "1 wildcard",
	`{"id":1,"publish":"#","data":""}`:                                    "1 wildcard",
	`{"id":1,"publish":"","data":""}`:                                     "1 bad_name",
	`{"id":1,"publish":"$presence/a","data":""}`:                          "1 forbidden",
	`{"id":1,"publish":"a","data":"` + strings.Repeat("a", 1001) + `"}`:   "1 too_big",
	`{"id":1,"publish":"a","binary":"AP8"}`:                               "1 bad_request",
	`{"id":1,"publish":"a","binary":"AP\n8="}`:                            "1 bad_request",
	`{"publish":"a","binary":"?","id":7}`:                                 "7 bad_request",
	`{"id":1,"publish":"a","data":"","expires":0}`:                        "1 bad_request",
	`{"id":1,"publish":"a","data":"\ud800"}`:                              "1 bad_request",
	`{"id":1,"publish":"a","data":"\ud800\ud800"}`:                        "1 bad_request",
	`{"id":1,"publish":"a","data":"\udc00\ud800"}`:                        "1 bad_request",
	`{"id":1,"subscribe":"a","info":["\ud83d"]}`:                          "1 bad_request",
	`{"id":1,"Ping":true}`:                                                "1 bad_request",
	`{"ID":1,"ping":true}`:                                                "bad_request",
	`{"id":1,"ping":true,"ping":true}`:                                    "1 bad_request",
	`{"id":1,"id":2,"ping":true}`:                                         "1 bad_request",
	`{"id":1,"ping":true,"i\u0064":2}`:                                    "1 bad_request",
	`{"id":1,"ping":true,"token":null}`:                                   "1 bad_request",
	`{"id":1,"ping":true,"since":""}`:                                     "1 bad_request",
	`{"id":1,"subscribe":"a","key":""}`:                                   "1 bad_request",
	`{"id":1,"ping":tru`:                                                  "1 bad_request",
	`{"id":1`:                                                             "1 bad_request",
	`{"ping":true,"id":`:                                                  "bad_request",
	`["id",1]`:                                                            "bad_request",
	`{"a":{"id":3},"ping":true}`:                                          "bad_request",
	`{"id":1,"subscribe":"a","info":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`: "1 bad_request",
	`{"id":1,"token":""}`:  "1 bad_request",
	`{"id":1,"token":"x"}`: "1 unauthorized",
}

// TestEnvelopeErrors: what is wrong is told, and the connection goes on.
func TestEnvelopeErrors(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep, Limits: pubsub.Limits{Topics: 3, PublishRate: 1, PublishBurst: 2, Payload: 1000}}, nil)
	c := r.connect("/topics?envelope=1")
	for text, want := range wrongEnvelopes {
		c.SendText(text)
		got := c.ReceiveText()
		conform(t, "fromServer", got)
		var e struct {
			ID             int
			Error, Message string
		}
		if err := json.Unmarshal([]byte(got), &e); err != nil || e.Message == "" {
			t.Errorf("%s: %s", text, got)
		}
		if told := strings.TrimPrefix(fmt.Sprint(e.ID, " ", e.Error), "0 "); told != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	say(t, c, `{"id":1,"ping":true}x`, `{"id":1,"error":"bad_request","message":"something follows the envelope"}`)
	say(t, c, `{"id":1,"ping":true,"p\u006fng":1}`, `{"id":1,"error":"bad_request","message":"an envelope has no field \"pong\""}`)
	say(t, c, `{"id":1,"ping":1}`, `{"id":1,"error":"bad_request","message":"ping can not be a JSON number"}`)
	c.SendBinary([]byte(`{"id":1,"ping":true}`))
	say(t, c, "", `{"error":"bad_request","message":"a binary message: envelopes are JSON in text messages"}`)
	for i, want := range []string{`"ok":true`, `"ok":true`, `"ok":true`, `"error":"too_many"`} {
		c.SendText(fmt.Sprintf(`{"id":1,"subscribe":"t%d"}`, i))
		if got := c.ReceiveText(); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for i := 0; ; i++ {
		c.SendText(`{"id":1,"publish":"a","data":""}`)
		if got := c.ReceiveText(); strings.Contains(got, `"error":"too_fast"`) {
			break
		}
		if i == 100 {
			t.Fatal("never too fast")
		}
	}
}

// TestEnvelopeURL: topics may be in the URL too, and the subprotocol asks for envelopes as well.
func TestEnvelopeURL(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	first := r.publish("a", "1").Position
	r.publish("a", "2")
	c := r.connect("/topics/a?topic=b/%23&envelope=1&since=" + first.String())
	say(t, c, "", `{"subscribed":{"topic":"a","position":P,"recovered":true,"sent":1}}`, `{"topic":"a","position":P,"time":T,"data":"2"}`,
		`{"subscribed":{"topic":"b/#","recovered":false,"sent":0}}`)
	c = r.connect("/topics/a?envelope=1&last=1")
	say(t, c, "", `{"subscribed":{"topic":"a","recovered":false,"sent":1}}`, `{"topic":"a","position":P,"time":T,"data":"2"}`)
	c = r.connect("/topics/a?envelope=1&since=old-1")
	say(t, c, "", `{"subscribed":{"topic":"a","recovered":false,"sent":2}}`, `{"topic":"a","position":P,"time":T,"data":"1"}`, `{"topic":"a","position":P,"time":T,"data":"2"}`)
	say(t, c, `{"id":1,"ping":true}`, `{"id":1,"ok":true}`)
	if s := r.g.Stats(); s.Open["envelope"] != 3 || s.Recovered != 1 || s.Missing != 2 {
		t.Errorf("%+v", s)
	}
}

// TestRenew: a new token takes the old one's place, with what it allows.
func TestRenew(t *testing.T) {
	t.Parallel()
	who := tokens{
		"ann":     {User: "ann", Rights: gateway.Rights{Subscribe: []string{"#"}, Publish: []string{"#"}}},
		"ann-few": {User: "ann", Rights: gateway.Rights{Subscribe: []string{"a"}}},
		"bob":     {User: "bob", Rights: gateway.Rights{Subscribe: []string{"#"}}},
	}
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}, Anonymous: nothing})
	c := r.connect("/topics?envelope=1")
	say(t, c, `{"id":1,"subscribe":"a"}`, `{"id":1,"error":"unauthorized","message":"no right to subscribe to \"a\" without a token"}`)
	say(t, c, `{"id":2,"token":"ann"}`, `{"id":2,"ok":true}`)
	for i, name := range []string{"a", "b", "c/#"} {
		say(t, c, fmt.Sprintf(`{"id":%d,"subscribe":%q}`, i+3, name))
		c.ReceiveText()
	}
	say(t, c, `{"id":6,"token":"bob"}`, `{"id":6,"error":"forbidden","message":"the token is another user's: open another connection"}`)
	say(t, c, `{"id":7,"token":"broken"}`, `{"id":7,"error":"unauthorized","message":"the token is broken"}`)
	say(t, c, `{"id":8,"publish":"a","data":"x"}`, `{"topic":"a","position":P,"time":T,"data":"x"}`, `{"id":8,"ok":true,"position":P,"members":1}`)
	say(t, c, `{"id":9,"token":"ann-few"}`, `{"id":9,"ok":true,"unsubscribed":["b","c/#"]}`)
	say(t, c, `{"id":10,"publish":"a","data":"x"}`, `{"id":10,"error":"forbidden","message":"no right to publish to \"a\""}`)
	r.publish("b", "not for her")
	r.publish("c/1", "not for her")
	r.publish("a", "for her")
	say(t, c, "", `{"topic":"a","position":P,"time":T,"data":"for her"}`)
}

// TestRenewAfterUnsubscribeUser: what the hub has ended is not told to have ended by the token, nor twice.
func TestRenewAfterUnsubscribeUser(t *testing.T) {
	t.Parallel()
	who := tokens{
		"ann":     {User: "ann", Rights: gateway.Rights{Subscribe: []string{"#"}}},
		"ann-few": {User: "ann", Rights: gateway.Rights{Subscribe: []string{"a"}}},
	}
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}, Anonymous: nothing})
	c := r.connect("/topics?envelope=1&token=ann")
	subscribe := func(name string) {
		t.Helper()
		say(t, c, fmt.Sprintf(`{"id":1,"subscribe":%q}`, name), fmt.Sprintf(`{"id":1,"ok":true,"topic":%q,"position":P,"recovered":false,"sent":0}`, name))
	}
	for _, name := range []string{"b/c", "d"} {
		subscribe(name)
		if n := r.hub.UnsubscribeUser("ann", name); n != 1 {
			t.Fatalf("%d subscriptions to %s have ended", n, name)
		}
	}
	subscribe("b/c")
	say(t, c, `{"id":2,"token":"ann-few"}`, `{"id":2,"ok":true,"unsubscribed":["b/c"]}`)
}

// TestRenewRate: bad tokens, and good ones, cost more than they bring.
func TestRenewRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}})
		c := r.connect("/topics?envelope=1&token=ann")
		for range 5 {
			say(t, c, `{"id":1,"token":"ann"}`, `{"id":1,"ok":true}`)
			say(t, c, `{"id":2,"token":"broken"}`, `{"id":2,"error":"unauthorized","message":"the token is broken"}`)
		}
		say(t, c, `{"id":3,"token":"ann"}`, `{"id":3,"error":"too_fast","message":"a connection brings at most one token a second"}`)
		time.Sleep(time.Second)
		say(t, c, `{"id":4,"token":"ann"}`, `{"id":4,"ok":true}`)
	})
}

// TestNoTokenComes: who may do nothing without a token brings one in time, or goes.
func TestNoTokenComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}, Anonymous: nothing})
		silent, wrong, late := r.connect("/topics?envelope=1"), r.connect("/topics?envelope=1"), r.connect("/topics?envelope=1")
		time.Sleep(9 * time.Second)
		say(t, wrong, `{"id":1,"token":"broken"}`, `{"id":1,"error":"unauthorized","message":"the token is broken"}`)
		say(t, late, `{"id":1,"token":"ann"}`, `{"id":1,"ok":true}`)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, c := range []*servertest.Client{silent, wrong} {
			if end := c.ReceiveClose(); end.Code != 3000 || end.Reason != "unauthorized: no token has come: nothing is allowed without one" {
				t.Errorf("%v", end)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		say(t, late, `{"id":2,"ping":true}`, `{"id":2,"ok":true}`)
		if s := r.g.Stats(); s.Expired != 0 || s.Refused[gateway.Unauthorized] != 3 {
			t.Errorf("%+v", s)
		}
		r = newRig(t, gateway.Options{Auth: []gateway.Authenticator{some}})
		c := r.connect("/topics?envelope=1")
		time.Sleep(time.Minute)
		say(t, c, `{"id":1,"subscribe":"a"}`, `{"id":1,"ok":true,"topic":"a","position":P,"recovered":false,"sent":0}`)
	})
}

// ending are tokens that end.
func ending(in ...time.Duration) tokens {
	who := tokens{}
	for _, d := range in {
		who[d.String()] = gateway.Identity{User: "ann", Rights: gateway.Rights{Subscribe: []string{"#"}}, Expires: time.Now().Add(d)}
	}
	return who
}

// TestExpiry: a connection ends with its token, and knows before.
func TestExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		who := ending(-time.Second, 10*time.Second, time.Minute, time.Hour, 2*time.Hour)
		who["forever"] = gateway.Identity{User: "ann", Rights: gateway.Rights{Subscribe: []string{"#"}}}
		r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}})
		if end := r.connect("/topics/a?token=-1s").ReceiveClose(); end.Code != 3000 {
			t.Errorf("%v", end)
		}
		after := func(want time.Duration, what string) {
			t.Helper()
			if took := time.Since(began).Round(time.Second); took != want {
				t.Errorf("%s after %v, want %v", what, took, want)
			}
		}
		// Too late to warn much before.
		short := r.connect("/topics/a?envelope=1&token=10s")
		say(t, short, "", `{"subscribed":{"topic":"a","position":P,"recovered":false,"sent":0}}`)
		raw, minute, hour := r.connect("/topics/a?token=1h0m0s"), r.connect("/topics?envelope=1&token=1m0s"), r.connect("/topics?envelope=1&token=1h0m0s")
		eternal := r.connect("/topics?envelope=1&token=forever")
		synctest.Wait()
		say(t, short, "", `{"expires_in":10}`)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if end := short.ReceiveClose(); end.Code != 3000 {
			t.Errorf("%v", end)
		}
		after(10*time.Second, "closed")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		say(t, minute, "", `{"expires_in":30}`)
		say(t, minute, `{"id":1,"token":"2h0m0s"}`, `{"id":1,"ok":true,"expires_in":7170}`)
		time.Sleep(time.Hour - 60*time.Second)
		synctest.Wait()
		say(t, hour, "", `{"expires_in":30}`)
		minute.ExpectNothing()
		raw.ExpectNothing()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		for _, c := range []*servertest.Client{hour, raw} {
			if end := c.ReceiveClose(); end.Code != 3000 || end.Reason != "the token has expired" {
				t.Errorf("%v", end)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		say(t, minute, "", `{"expires_in":30}`)
		if end := minute.ReceiveClose(); end.Code != 3000 {
			t.Errorf("%v", end)
		}
		say(t, eternal, `{"id":1,"ping":true}`, `{"id":1,"ok":true}`)
		if s := r.g.Stats(); s.Expired != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// TestMissed: a slow reader is told how much it did not get.
func TestMissed(t *testing.T) {
	t.Parallel()
	rules := []pubsub.Rule{{Filter: "#", Messages: 1, Policy: server.DropOldest}}
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: rules}, func(s *server.Server) { s.Queue.Max = 64 << 10 })
	c := r.connect("/topics?envelope=1")
	say(t, c, `{"id":1,"subscribe":"a"}`)
	c.ReceiveText()
	const all = 3000
	for range all {
		r.publish("a", strings.Repeat("x", 1000))
	}
	r.publish("a", "last")
	got, missed := 0, 0
	for {
		var m struct {
			Missed int
			Data   string
		}
		c.ReceiveJSON(&m)
		missed += m.Missed
		if m.Data == "last" {
			break
		}
		if m.Data != "" {
			got++
		}
	}
	if missed == 0 || got+missed != all {
		t.Errorf("%d messages, and %d missed, of %d", got, missed, all)
	}
}

// TestLargeForms: a message that fits, but not in its envelope or as an event, ends nobody's connection: who can not take
// it is told, live and of the past, and others have it.
func TestLargeForms(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep}, nil)
	raw, enveloped, stream := r.connect("/topics/a"), r.connect("/topics/a?envelope=1"), r.stream("/topics/a")
	enveloped.ReceiveText() // how it begins
	start := r.publish("a", "start")
	if got := raw.ReceiveText(); got != "start" {
		t.Errorf("%.100q", got)
	}
	for _, m := range []pubsub.Message{
		{Topic: "a", Payload: make([]byte, 1<<20), Opcode: ws.Binary},             // base64
		{Topic: "a", Payload: []byte(strings.Repeat("\x01", 300_000))},            // six characters each
		{Topic: "a", Payload: []byte(strings.Repeat("\n", 300_000) + "no event")}, // seven
	} {
		if _, err := r.hub.Publish(t.Context(), m, pubsub.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := raw.Receive(); len(got.Payload) != len(m.Payload) {
			t.Errorf("%d bytes, want %d", len(got.Payload), len(m.Payload))
		}
	}
	r.publish("a", "end")
	for name, c := range map[string]*servertest.Client{"live": enveloped, "past": r.connect("/topics/a?envelope=1&since=" + start.Position.String())} {
		missed, end := 0, false
		for !end {
			var m struct {
				Missed int
				Data   string
			}
			c.ReceiveJSON(&m)
			missed, end = missed+m.Missed, m.Data == "end"
		}
		if missed != 2 { // line ends have two characters
			t.Errorf("%s: %d missed, want 2", name, missed)
		}
	}
	for end := false; !end; {
		e := stream.next()
		if end = string(e.Data) == "end"; e.Name == "close" {
			t.Fatalf("%q", e.Data)
		}
	}
}

// FuzzLookAt: of what nothing is wrong with, encoding/json reads the same number, and no field that it does not know.
func FuzzLookAt(f *testing.F) {
	for text := range wrongEnvelopes {
		if len(text) < 1000 {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte(`{"publish":"\\\"","data":"\\\\","id":5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, wrong := gateway.LookAt(text)
		var want struct{ ID uint64 }
		if err := json.Unmarshal(text, &want); err == nil && wrong == "" && want.ID < 1<<53 && id != want.ID {
			t.Errorf("%q: %d, want %d", text, id, want.ID)
		}
		var fields struct{ ID, Subscribe, Unsubscribe, Publish, Token, Ping, Since, Last, Info, Data, Binary, Key, Expires, Kept any }
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&fields); wrong == "" && err != nil && strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// TestErrorsInWords: errors are in words of the client's, and what JSON need not escape stands there as it is.
func TestErrorsInWords(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	c := r.connect("/topics?envelope=1")
	long := strings.Repeat("a", 300)
	for text, want := range map[string]string{
		`{"id":1,"publish":"a","data":{"a":1}}`:      `{"id":1,"error":"bad_request","message":"data is a text: JSON goes into it as a string"}`,
		`{"id":1,"publish":"a","data":[1]}`:          `{"id":1,"error":"bad_request","message":"data is a text: JSON goes into it as a string"}`,
		`{"id":1,"publish":"$presence/a","data":""}`: `{"id":1,"error":"forbidden","message":"nothing can be published to names that begin with $, such as \"$presence/a\""}`,
		`{"id":1,"subscribe":"` + long + `"}`:        `{"id":1,"error":"bad_name","message":"not a topic's name: 300 bytes, at most 256 are allowed"}`,
		`{"id":1,"unsubscribe":"a&b<c>"}`:            `{"id":1,"error":"bad_request","message":"not subscribed to \"a&b<c>\""}`,
		`{"id":1,"subscribe":"a&b<c>"}`:              `{"id":1,"ok":true,"topic":"a&b<c>","position":P,"recovered":false,"sent":0}`,
		`{"id":1,"subscribe":"a","since":"a&b"}`:     `{"id":1,"error":"bad_request","message":"not a position: \"a&b\""}`,
	} {
		say(t, c, text, want)
	}
	say(t, r.connect("/topics/a&b<c>?envelope=1"), "", `{"subscribed":{"topic":"a&b<c>","position":P,"recovered":false,"sent":0}}`)
	for target, want := range map[string]string{
		"/topics/$presence/a": `{"error":"forbidden","message":"nothing can be published to names that begin with $, such as \"$presence/a\""}`,
		"/topics/" + long:     `{"error":"bad_name","message":"not a topic's name: 300 bytes, at most 256 are allowed"}`,
		"/topics/a?x&y=1":     `{"error":"bad_request","message":"a query has no \"`,
		"/topics/a&%2B":       `{"error":"bad_name","message":"not a topic's name: \"a&+\" has a wildcard beside other characters in one level"}`,
	} {
		if a := r.ask("POST", target, "x"); !strings.HasPrefix(a.body, want) {
			t.Errorf("%s: %s, want %s", target, a.body, want)
		}
	}
	raw := r.connect("/topics/$presence/rooms/hall")
	raw.SendText("x")
	if end := raw.ReceiveClose(); end.Code != 3003 || !strings.HasPrefix(end.Reason, "forbidden: nothing can be published to names that begin with $") {
		t.Error(end)
	}
}
