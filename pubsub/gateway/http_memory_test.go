package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
)

// slowly posts with a body of this length (-1: not said), of which so much has come when it returns. rest sends the rest, and gives
// the answer.
func (r *rig) slowly(target string, length, come int) (rest func() answer) {
	r.t.Helper()
	read, write := io.Pipe()
	ready := make(chan struct{})
	trace := &httptrace.ClientTrace{Got100Continue: func() { close(ready) }} // the body is being read
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(r.t.Context(), trace), "POST", "http://example.com"+target, read)
	if err != nil {
		r.t.Fatal(err)
	}
	req.ContentLength = int64(length)
	req.Header.Set("Expect", "100-continue")
	client := r.srv.HTTP()
	client.Timeout = 0
	answers := make(chan answer, 1)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			answers <- answer{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body) // it says what has come
		answers <- answer{resp.StatusCode, resp.Header, string(text)}
	}()
	<-ready
	if _, err := write.Write(make([]byte, come)); err != nil {
		r.t.Fatal(err)
	}
	return func() answer {
		_, _ = write.Write(make([]byte, max(length-come, 0))) // there may be an answer already
		_ = write.Close()
		return <-answers
	}
}

// TestSlowBodies: a body counts as it comes, whatever it says of itself, and however large a message may be.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	for payload, length := range map[int]int{128 << 20: 128 << 20, 300 << 20: 300 << 20, 400 << 20: -1, -1: 1 << 30} {
		r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Limits: pubsub.Limits{Payload: payload}}, nil)
		for range 4 {
			r.slowly("/topics/a", length, 5000)
		}
		r.expect(200, "position", "POST", "/topics/a", strings.Repeat("a", 1<<20))
		r.expect(200, "messages", "GET", "/history/a", "")
	}
}

// TestBodyTime: a body has 30 seconds, and longer only if it comes at 32 KiB a second.
func TestBodyTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{}, func(s *server.Server) { s.Timeouts.Body = -1 })
		for come, wait := range map[int]time.Duration{1: 31 * time.Second, 100: 29 * time.Second, 600_000: 31 * time.Second, 600_001: 61 * time.Second} {
			rest := r.slowly("/topics/a", 1<<20, come)
			time.Sleep(wait)
			a := rest()
			if good := come == 100 || come == 600_000; good != (a.status == 200) || a.status != 200 && !strings.Contains(a.body, "too slowly") {
				t.Errorf("%d bytes, then nothing for %v: %+v", come, wait, a)
			}
		}
	})
}

// TestBodyTimeOfServer: the ReadTimeout of an http.Server stays as it is.
func TestBodyTimeOfServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	for own, want := range map[time.Duration]int{0: 2, time.Second: 0} {
		req := httptest.NewRequest("POST", "/topics/a", strings.NewReader("x"))
		w := &deadlines{httptest.NewRecorder(), 0}
		r.g.HTTP(nil).ServeHTTP(w, req.WithContext(context.WithValue(t.Context(), http.ServerContextKey, &http.Server{ReadTimeout: own})))
		if w.Code != 200 || w.set != want {
			t.Errorf("%v: %d, and %d deadlines, want %d", own, w.Code, w.set, want)
		}
	}
}

// deadlines counts those for reading.
type deadlines struct {
	*httptest.ResponseRecorder
	set int
}

func (d *deadlines) SetReadDeadline(time.Time) error {
	d.set++
	return nil
}

// TestRightsBehindASlowBody: who has lost his right while his body came may not publish it.
func TestRightsBehindASlowBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		may := gateway.Rights{Publish: []string{"#"}}
		who := tokens{"lasting": {Rights: may}, "brief": {Rights: may, Expires: time.Now().Add(10 * time.Second)}, "gone": {Rights: may}, "narrowed": {Rights: may}}
		r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{who}, Anonymous: nothing})
		rests := map[string]func() answer{}
		for token := range who {
			rests[token] = r.slowly("/topics/a?token="+token, 1000, 10)
		}
		time.Sleep(11 * time.Second)
		delete(who, "gone")
		who["narrowed"] = gateway.Identity{Rights: gateway.Rights{Publish: []string{"b"}}}
		for token, want := range map[string]int{"lasting": 200, "brief": 401, "gone": 401, "narrowed": 403} {
			if a := rests[token](); a.status != want {
				t.Errorf("%s: %+v, want %d", token, a, want)
			}
		}
		if s := r.hub.Stats().Published; s != 1 {
			t.Errorf("%d were published", s)
		}
	})
}
