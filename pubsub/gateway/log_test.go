package gateway_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
)

// book is a log in memory.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestLog: who was refused, who published and who purged is in the log, with the name and without the token.
func TestLog(t *testing.T) {
	t.Parallel()
	who := tokens{"secret": {User: "ann", Name: "press", Rights: gateway.Rights{Publish: []string{"news/#"}, Purge: []string{"news/#"}}}, "other": {Name: "builds"}}
	for _, access := range []bool{false, true} {
		log := &book{}
		r := newRigWith(t, gateway.Options{Auth: []gateway.Authenticator{who}}, pubsub.Options{Rules: keep}, func(s *server.Server) {
			s.LogRefusals, s.Logger = access, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		expect := func(words ...string) {
			t.Helper()
			words = append(words, map[bool]string{false: "level=DEBUG", true: "level=INFO"}[access], "remote=")
			r.eventually("the log has "+strings.Join(words, ", "), func() bool {
				for line := range strings.Lines(log.String()) {
					has := 0
					for _, word := range words {
						if strings.Contains(line, word) {
							has++
						}
					}
					if has == len(words) {
						return true
					}
				}
				return false
			})
		}
		r.expect(200, "position", "POST", "/topics/news/1?token=secret", "x")
		expect(`msg="request served"`, "did=publish", "topic=news/1", "user=ann", "key=press", "method=POST", "path=/topics/news/1\n")
		r.expect(204, "", "DELETE", "/history?topic=news/1&token=secret", "")
		expect(`msg="request served"`, "did=purge", "topic=news/1", "user=ann", "key=press", "path=/history\n")
		r.expect(403, "forbidden", "POST", "/topics/a?token=other", "x")
		expect(`msg="request refused"`, "status=403", `reason="forbidden: no right to publish to \"a\""`, "key=builds", "path=/topics/a\n")
		r.expect(401, "unauthorized", "GET", "/presence/a?token=wrong", "")
		expect(`msg="request refused"`, "status=401", "method=GET", "path=/presence/a\n")
		r.expect(403, "forbidden", "GET", "/history/a", "", "Origin: http://evil.example")
		expect(`msg="request refused"`, "status=403", `reason="forbidden: origin`, "origin=http://evil.example host=example.com", `remedy="--topics-cors (`, "path=/history/a\n")
		r.expect(426, "bad_request", "GET", "/topics/b", "")
		expect(`msg="request refused"`, "status=426", "path=/topics/b\n")
		r.ask("PUT", "/topics/c", "")
		expect(`msg="request refused"`, "status=405", "path=/topics/c\n")
		r.connect("/topics/%23?token=other").ReceiveClose()
		expect(`msg="request refused"`, "code=3003", "key=builds", `reason="forbidden: no right to subscribe to \"#\""`, "path=/topics/%23\n")
		r.connect("/topics/d?since=old-1").ReceiveClose()
		expect(`msg="request refused"`, "code=4410", `reason="history_gone`, "path=/topics/d\n")
		r.tryStream("/topics/%23?token=other")
		expect(`msg="request refused"`, "status=403", `reason="forbidden: no right to subscribe to \"#\" (key builds)"`, "path=/topics/%23\n")
		r.expect(400, "bad_request", "GET", "/history/a?eyJsecretwithoutitsname", "")
		expect(`msg="request refused"`, "status=400", `reason="bad_request: a query has no \"...\"`, "path=/history/a\n")
		for _, secret := range []string{"secret", "token=", "wrong"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log has %q:\n%s", secret, log.String())
			}
		}
	}
}
