package load_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
)

// TestRefusalsAreTold: a note has the answer's status, the beginning of its body, and
// what to try next, once.
func TestRefusalsAreTold(t *testing.T) {
	leavesNothing(t)
	const evil = "\x1b[2J\x00\xff\u202e"
	for name, tt := range map[string]struct {
		script func(p *peer)
		want   []string
	}{
		"all at once": {func(p *peer) { p.answer("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno\r\nsuch\n"); p.hold() },
			[]string{`the server's answer to the upgrade was 404 Not Found: "no such"; try another path than /chat?a=b`}},
		"the body later": {func(p *peer) {
			p.answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\n")
			p.send([]byte("n"))
			p.send([]byte("ay"))
			p.hold()
		}, []string{`403 Forbidden: "nay"; try --header`, "--origin"}},
		"half a body": {func(p *peer) { p.answer("HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\nno"); p.hold() }, []string{`: "no"; `}},
		"ends":        {func(p *peer) { p.answer("HTTP/1.1 200 OK\r\n\r\nhello") }, []string{`200 OK: "hello"; is a WebSocket served at /chat?a=b?`}},
		"no body":     {func(p *peer) { p.answer("HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n"); p.hold() }, []string{"was 503, without a body; ", "--connect-rate"}},
		"chunked": {func(p *peer) {
			p.answer("HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
		}, []string{`: "no 0"; `}},
		"a page": {func(p *peer) {
			p.answer("HTTP/1.1 404 Not Found\r\n\r\n<html><head><style>p{a}</style></head><p>Gone <b>away</b></p>")
		}, []string{`: "Gone away"; `}},
		"a redirect":     {func(p *peer) { p.answer("HTTP/1.1 301 Moved\r\nLocation: /there\r\n\r\n") }, []string{`it redirects to "/there": try that`}},
		"harmful":        {func(p *peer) { p.answer("HTTP/1.1 404 " + evil + "\r\n\r\n" + evil + "boo") }, []string{`boo"`, `\x1b[2J`}},
		"endless":        {func(p *peer) { p.answer("HTTP/1.1 404 Not Found\r\n\r\n" + strings.Repeat("long ", 1<<20)); p.hold() }, []string{`"long long long `, `..."; `}},
		"not HTTP":       {func(p *peer) { p.send([]byte("SSH-2.0-x" + evil + strings.Repeat("y", 99) + "\r\n")); p.hold() }, []string{`the answer begins with "SSH-2.0-x\x1b[2J`, "right port?"}},
		"a TLS alert":    {func(p *peer) { p.answer("\x15\x03\x01\x00\x02\x02\x46") }, []string{"which is not HTTP but TLS: try wss://"}},
		"without a word": {func(p *peer) { p.readRequest() }, []string{"if the port speaks TLS, try wss://"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hasty(scripted(t, tt.script) + "chat?a=b")
			p.ConnectTimeout = patience
			r := run(t, p, load.Watch{})
			if len(r.Troubles) != 1 || r.Troubles[0].Count != 4 || len(r.Notes) != 1 {
				t.Errorf("troubles %+v, notes %q; want one of each", r.Troubles, r.Notes)
			}
			for _, want := range tt.want {
				wantNote(t, r, want)
			}
			text := strings.Join(r.Notes, "")
			if len(text) > 500 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%d bytes of note %q", len(text), text)
			}
		})
	}
}

// TestShortTimes: a time in a trouble is told in us, as everywhere.
func TestShortTimes(t *testing.T) {
	p := hasty(scripted(t, func(p *peer) { p.hold() }))
	p.ConnectTimeout = 1500 * time.Microsecond
	wantTrouble(t, run(t, p, load.Watch{}), "upgrade: no full answer within 1.5ms")
	p.ConnectTimeout = 0
	p.Connections, p.FirstReply = 1, 900*time.Microsecond
	p.URL = scripted(t, func(p *peer) {
		for ok := p.upgrade(); ok; _, _, ok = p.next() {
		}
	})
	r := run(t, p, load.Watch{})
	wantTrouble(t, r, "no message came back within 900us, of ")
}

// TestWrongScheme: plain to a port with TLS, and TLS to one without, end at once and
// with what to try.
func TestWrongScheme(t *testing.T) {
	leavesNothing(t)
	wss, ca := serveTLS(t, &server.Server{Handler: plainEcho{}})
	own := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(own.Close)
	untrusted := hasty(wss)
	authority := hasty(strings.Replace(wss, "127.0.0.1", "localhost", 1))
	authority.CAFile = ca
	quiet := scripted(t, func(p *peer) { p.hold() })
	silent, waiting := hasty(strings.Replace(quiet, "ws", "wss", 1)), hasty(quiet)
	closing := hasty(strings.Replace(scripted(t, func(p *peer) { _, _ = p.Read(make([]byte, 5000)) }), "ws", "wss", 1))
	for name, tt := range map[string]struct {
		plan result.Plan
		want string
	}{
		"ws to TLS":     {hasty(strings.Replace(wss, "wss", "ws", 1)), "the port seems to speak TLS: try wss:// in the URL"},
		"wss to plain":  {hasty("wss" + strings.TrimPrefix(own.URL, "http")), "the port does not speak TLS: try ws:// in the URL"},
		"not trusted":   {untrusted, "try --ca with the file of its authority, or --insecure"},
		"another's one": {authority, "try --ca with"},
		"TLS, silence":  {silent, "if the port does not speak it, try ws:// in the URL"},
		"TLS, closed":   {closing, "if the port does not speak it, try ws:// in the URL"},
		"no answer":     {waiting, "if the port speaks TLS, try wss:// in the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(tt.want, "if ") { // what is not answered is waited for
				tt.plan.ConnectTimeout = patience
			}
			r := run(t, tt.plan, load.Watch{})
			wantNote(t, r, tt.want)
			if r.Failed != 4 || r.EndedEarly != "no connection could be opened" {
				t.Errorf("%d failed, ended early %q", r.Failed, r.EndedEarly)
			}
		})
	}
}
