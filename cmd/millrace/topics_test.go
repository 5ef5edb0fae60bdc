package main_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keyFile makes a file for --topics-keys: the key publishes to news and sees who is there.
func keyFile(t *testing.T, more string) string {
	t.Helper()
	text := fmt.Sprintf("keys:\n  - name: press\n    user: press\n    sha256: %x\n    publish: [news/#]\n    presence: [news/#]\n    purge: [news/#]\n%s", sha256.Sum256([]byte("press-key")), more)
	return tempFile(t, "keys.yaml", text)
}

// ask sends a request with a body and header lines, and gives the answer with a status.
func ask(t *testing.T, method, url, body string, lines ...string) (answer string) {
	t.Helper()
	status, _, text := asking(t, method, url, body, lines...)
	return fmt.Sprint(status, " ", text)
}

// expectAnswer asks, and wants an answer that begins so, or that has it in it.
func expectAnswer(t *testing.T, want, method, url, body string, lines ...string) {
	t.Helper()
	if got := ask(t, method, url, body, lines...); !strings.Contains(got, want) {
		t.Errorf("%s %s %q: %s, want %s", method, url, lines, got, want)
	}
}

// TestTopicsDecision: who may do what is said by whoever starts it, or it ends.
func TestTopicsDecision(t *testing.T) {
	t.Parallel()
	keys := keyFile(t, "")
	for args, want := range map[string]string{
		"--listen :8080":                      "--listen :8080 is no loopback address",
		"--listen 0.0.0.0:8080":               "with --topics-keys, or --topics-jwt-secret",
		"--listen [::]:8080":                  "or --topics-open, which lets everybody do everything",
		"--listen 192.0.2.1:8080":             "is no loopback address",
		"--listen example.com:8080":           "is no loopback address",
		"--listen unix:/nowhere/m.sock":       "is no loopback address",
		"--listen fd:3":                       "is no loopback address",
		"--trusted-proxies 10.0.0.1":          "a proxy is trusted",
		"--proxy-protocol required":           "a proxy is trusted",
		"--origin *":                          "--origin * lets pages from anywhere in",
		"--origin https://a.example,null":     "--origin null lets pages from anywhere in",
		"--host a.example,*:8080":             "--host *:8080 lets pages from anywhere in",
		"--topics-cors *":                     "--topics-cors * lets pages from anywhere in",
		"--topics-open --topics-keys " + keys: "--topics-open lets everybody do everything",
		"--topics-cookie session":             "--topics-cookie says nothing without",
		"--topics-jwt-issuer us":              "say nothing without --topics-jwt-secret",
		"--topics-keys " + keys + " --topics-cookie session --topics-cors *":         "--topics-cors * any page could act for its visitors",
		"--topics-keys " + keys + " --topics-cookie session --topics-cors null":      "--topics-cors null any page could act for its visitors",
		"--topics-keys " + keys + " --topics-cookie session --origin https://a.b,*":  "--origin * any page could act for its visitors",
		"--topics-keys " + keys + " --topics-cookie session --origin null":           "--origin null any page could act for its visitors",
		"--topics-keys " + keys + " --topics-cookie session --origin https://*:8443": "--origin https://*:8443 any page could act for its visitors",
		"--origin https://*": "--origin https://* lets pages from anywhere in",
	} {
		expectMisuse(t, nil, append([]string{"serve", "--topics"}, strings.Fields(args)...), want)
	}
	expectMisuse(t, nil, []string{"serve", "--topics-open"}, "--topics-open says nothing without --topics")
	expectMisuse(t, []string{"MILLRACE_TOPICS_RULE=# messages=1"}, []string{"serve"}, "MILLRACE_TOPICS_RULE says nothing without --topics")
	for rule, want := range map[string]string{
		"# messages=1; a/+ messages=2":          "--topics-rule: the rule for a/+ never counts, since the one for # comes before it",
		"$a messages=1":                         "--topics-rule: no rule can be for $a",
		"a mesages=1":                           `which has nothing like "mesages=1"`,
		"a presence foo":                        `which has nothing like "foo"`,
		strings.Repeat("a/", 16) + "a presence": "at most 256 bytes and 16 levels",
	} {
		expectMisuse(t, nil, []string{"serve", "--topics", "--topics-rule", rule}, want)
	}
	expectMisuse(t, nil, []string{"serve", "--topics", "--topics-publish-burst", "3"}, "--topics-publish-burst says nothing without --topics-publish-rate")
	short := tempFile(t, "secret", "too short")
	for args, want := range map[string]string{
		"--topics-keys /nowhere/keys":       "--topics-keys: ",
		"--topics-keys " + short:            "--topics-keys: ",
		"--topics-jwt-secret /nowhere/s":    "--topics-jwt-secret: ",
		"--topics-jwt-secret " + short:      "--topics-jwt-secret: " + short + ": a secret of 9 bytes: want 32 or more",
		"--topics-jwt-key " + short:         "no public key in PEM",
		"--topics-jwt-jwks " + short:        "--topics-jwt-jwks: " + short + ": the key set can't be read",
		"--topics-jwt-jwks /nowhere/k.json": "--topics-jwt-jwks: ",
	} {
		if _, stderr, status := runToEnd(t, nil, append([]string{"serve", "--topics", "--listen", "127.0.0.1:0"}, strings.Fields(args)...)...); status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q; want %q", args, status, stderr, want)
		}
	}
}

// TestTopicsRightsLogged: the log says at the start who may do what.
func TestTopicsRightsLogged(t *testing.T) {
	t.Parallel()
	secret := tempFile(t, "secret", strings.Repeat("s", 32))
	for args, want := range map[string]string{
		"":                            `anybody_may="everything, from this machine alone" tokens=none`,
		"--topics-open":               "anybody_may=everything tokens=none",
		"--topics-keys ":              `anybody_may="subscribing to topics, and their history" tokens=keys`,
		"--topics-keys anonymous: {}": "anybody_may=nothing tokens=keys",
		"--topics-keys anonymous: {subscribe: [a], purge: [b]}": `anybody_may="subscribe, purge" tokens=keys`,
		"--topics-jwt-secret " + secret:                         `anybody_may="subscribing to topics, and their history" tokens=JWTs`,
	} {
		given := []string{"--topics"}
		if anonymous, ok := strings.CutPrefix(args, "--topics-keys "); ok {
			given = append(given, "--topics-keys", keyFile(t, anonymous+"\n"))
		} else {
			given = append(given, strings.Fields(args)...)
		}
		expectLines(t, loggedBy(serve(t, nil, given...), "topics are served"), "level=INFO .*"+regexp.QuoteMeta(want)+"\n$")
	}
	both := serve(t, nil, "--topics", "--topics-keys", keyFile(t, ""), "--topics-jwt-secret", secret)
	expectLines(t, loggedBy(both, "topics are served"), "tokens=\"keys, JWTs\"\n$")
}

// TestTopicsRemedies: the log says what would let in a request of another host or origin.
func TestTopicsRemedies(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--topics", "--access-log")
	expectAnswer(t, "421 ", "GET", "http://"+p.addr+"/stats/a", "", "Host: evil.example")
	expectAnswer(t, "403 ", "GET", "http://"+p.addr+"/stats/a", "", "Origin: https://app.example")
	expectLines(t, loggedBy(p, "request refused"), `host=evil.example remedy="--host \(`, `origin=https://app.example host=\S+ remedy="--topics-cors \(`)
}

// TestTopicsOpen: on a loopback address everything is open, to programs and to pages of the server's own, by the
// machine's own names.
func TestTopicsOpen(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--topics", "--topics-rule", "# messages=10")
	url := "http://" + p.addr
	c := dial(t, p.addr)
	if status := c.upgrade("/topics/a/%23"); status != 101 {
		t.Fatalf("status %d", status)
	}
	expectAnswer(t, `"members":1`, "POST", url+"/topics/a/b", "hello")
	c.expect(opText, "hello")
	expectAnswer(t, `"data":"hello"`, "GET", url+"/history/a/b", "")
	expectAnswer(t, "200 ", "POST", url+"/topics/a", "x", "Origin: "+url)
	expectAnswer(t, "403 ", "POST", url+"/topics/a", "x", "Origin: http://evil.example")
	expectAnswer(t, "403 ", "POST", url+"/topics/a", "x", "Origin: null")
	expectAnswer(t, "421 ", "POST", url+"/topics/a", "x", "Host: evil.example", "Origin: http://evil.example")
	expectAnswer(t, "421 ", "GET", url+"/history/a/b", "", "Host: evil.example")
	expectAnswer(t, "200 ", "GET", url+"/history/a/b", "", "Host: localhost:1")
	for _, line := range []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 cache", "X-Real-IP: 192.0.2.1"} {
		expectAnswer(t, "403 ", "POST", url+"/topics/a", "x", line)
		expectAnswer(t, "403 ", "GET", url+"/topics/a", "", line, "Accept: text/event-stream")
		c := dial(t, p.addr)
		c.upgrade("/topics/a", line)
		c.expectClose(3003)
	}
	for line, want := range map[string]int{"Origin: http://evil.example": 403, "Origin: " + url: 101} {
		if status := dial(t, p.addr).upgrade("/topics/a", line); status != want {
			t.Errorf("%s: %d, want %d", line, status, want)
		}
	}
	expectAnswer(t, "millrace_publications_total 2", "GET", url+"/metrics", "")
	expectAnswer(t, `millrace_gateway_connections{form="raw"} 2`, "GET", url+"/metrics", "")
	expectAnswer(t, "200 ", "GET", url+"/", "")
	expectAnswer(t, "404 ", "POST", "http://"+serve(t, nil).addr+"/topics/a", "x")
}

// TestTopicsBounds: a connection has so many topics, there are so many in all, and who has left some comes no more at once.
func TestTopicsBounds(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--topics", "--topics-rule", "kept/# messages=1 presence", "--topics-max", "4", "--topics-per-conn", "2", "--topics-presence-rate", "1", "--topics-presence-burst", "1")
	c := dial(t, p.addr)
	if status := c.upgrade("/topics?topic=kept/a&topic=b&envelope=1"); status != 101 {
		t.Fatalf("status %d", status)
	}
	say := func(text, want string) {
		t.Helper()
		c.send(fin|opText, text)
		if _, got := c.read(); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for range 2 { // of the topics in the URL
		c.read()
	}
	say(`{"id":1,"subscribe":"c"}`, `{"id":1,"error":"too_many","message":"too many topics or filters: the connection has 2"}`)
	expectAnswer(t, "200 ", "POST", "http://"+p.addr+"/topics/kept/c", "x")
	expectAnswer(t, "200 ", "POST", "http://"+p.addr+"/topics/kept/d", "x")
	expectAnswer(t, `503 {"error":"no_room","message":"too many topics or filters in all: there are 4 topics"}`, "POST", "http://"+p.addr+"/topics/kept/e", "x")
	for _, topic := range []string{"kept/a", "b"} {
		say(`{"id":2,"unsubscribe":"`+topic+`"}`, `"ok":true`)
	}
	say(`{"id":3,"subscribe":"b"}`, `"ok":true`)
	for range 20 { // once it is too fast, unless the machine is very slow
		c.send(fin|opText, `{"id":4,"subscribe":"kept/c"}`)
		if _, got := c.read(); strings.Contains(got, `"too_fast","message":"a connection may leave 1 topics with presence a second, and 1 at once`) {
			return
		}
		say(`{"id":5,"unsubscribe":"kept/c"}`, `"ok":true`)
	}
	t.Error("it is never too fast")
}

// TestTopicsAlone: without the page and the echo there is nothing to try, and the topics work.
func TestTopicsAlone(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--topics", "--topics-keys", keyFile(t, ""), "--page", "off", "--echo", "off", "--metrics", "off")
	for _, path := range []string{"/", "/page.html", "/page.css", "/page_topics.js", "/echo", "/metrics"} {
		expectAnswer(t, "404 ", "GET", "http://"+p.addr+path, "")
	}
	for path, want := range map[string]int{"/echo": 404, "/": 404, "/topics/a": 101} {
		if status := dial(t, p.addr).upgrade(path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	expectAnswer(t, "200 ", "GET", "http://"+p.addr+"/millrace.js", "")
	expectAnswer(t, "200 ", "GET", "http://"+p.addr+"/healthz", "")
}

// TestTopicsKeys: a public feed with publishing by key.
func TestTopicsKeys(t *testing.T) {
	t.Parallel()
	const key = "Authorization: Bearer press-key"
	p := serve(t, nil, "--topics", "--topics-keys", keyFile(t, ""), "--topics-rule", "news/# messages=10 presence", "--access-log", "--log-level", "debug", "--topics-cookie", "session")
	url := "http://" + p.addr
	c := dial(t, p.addr)
	if status := c.upgrade("/topics/news/1"); status != 101 {
		t.Fatalf("status %d", status)
	}
	expectAnswer(t, `200 {"position":"`, "POST", url+"/topics/news/1", "hello", key)
	c.expect(opText, "hello")
	expectAnswer(t, "200 ", "POST", url+"/topics/news/1?token=press-key", "again")
	c.expect(opText, "again")
	expectAnswer(t, `401 {"error":"unauthorized"`, "POST", url+"/topics/news/1", "x", key+"s")
	expectAnswer(t, `401 {"error":"unauthorized"`, "POST", url+"/topics/news/1?token=secret-by-mistake", "x")
	expectAnswer(t, `401 {"error":"unauthorized"`, "POST", url+"/topics/news/1", "x")
	expectAnswer(t, "403 ", "POST", url+"/topics/other", "x", key)
	expectAnswer(t, "401 ", "GET", url+"/presence/news/1", "")
	expectAnswer(t, `"count":1`, "GET", url+"/presence/news/1", "", key)
	expectAnswer(t, "401 ", "DELETE", url+"/history/news/1", "")
	expectAnswer(t, `"data":"hello"`, "GET", url+"/history/news/1", "")
	// A cookie counts with an Origin of ours alone.
	expectAnswer(t, "403 ", "POST", url+"/topics/news/1", "x", "Cookie: session=press-key")
	expectAnswer(t, "403 ", "DELETE", url+"/history/news/1", "x", "Cookie: session=press-key")
	expectAnswer(t, "403 ", "POST", url+"/topics/news/1", "x", "Cookie: session=press-key", "Origin: http://evil.example")
	expectAnswer(t, "200 ", "POST", url+"/topics/news/1", "x", "Cookie: session=press-key", "Origin: "+url)
	c.expect(opText, "x")
	expectAnswer(t, "204 ", "DELETE", url+"/history/news/1", "", key)
	// Browsers bring a token as a subprotocol, which is not sent back.
	for _, line := range []string{"millrace.raw.v1, millrace.token.press-key", "millrace.token.press-key,millrace.raw.v1"} {
		b := dial(t, p.addr)
		b.write([]byte("GET /topics/news/1 HTTP/1.1\r\nHost: " + p.addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + line + "\r\n\r\n"))
		resp, err := http.ReadResponse(b.r, nil)
		if err != nil || resp.Header.Get("Sec-WebSocket-Protocol") != "millrace.raw.v1" {
			t.Fatalf("%v, %v", resp, err)
		}
		b.send(fin|opText, "by a browser")
		b.expect(opText, "by a browser")
		c.expect(opText, "by a browser")
	}
	bad := dial(t, p.addr)
	bad.upgrade("/topics/news/%23?token=secret-by-mistake")
	bad.expectClose(3000)
	for target, code := range map[string]uint16{"/topics/news/%23": 3000, "/topics/$presence/news/1": 3000, "/topics/news/1?since=old-1": 4410} {
		c := dial(t, p.addr)
		if status := c.upgrade(target); status != 101 {
			t.Errorf("%s: status %d", target, status)
			continue
		}
		c.expectClose(code)
	}
	expectAnswer(t, `millrace_gateway_refused_total{error="unauthorized"} 8`, "GET", url+"/metrics", "")
	p.end()
	log := p.stderr.String()
	for _, secret := range []string{"press-key", "secret-by-mistake", "token="} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q:\n%s", secret, log)
		}
	}
	if !strings.Contains(log, "path=/topics/news/1 status=101") {
		t.Errorf("the access log lacks the topic:\n%s", log)
	}
}

// TestTopicsJWT: users with tokens, which end.
func TestTopicsJWT(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0123456789", 4)
	p := serve(t, nil, "--topics", "--topics-jwt-secret", tempFile(t, "secret", secret+"\n"), "--topics-jwt-issuer", "us")
	token := func(key any, method jwt.SigningMethod, expires time.Duration, issuer string) string {
		text, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"sub": "ann", "iss": issuer, "exp": float64(time.Now().Add(expires).UnixMilli()) / 1000,
			"millrace": map[string]any{"subscribe": []string{"rooms/#"}, "publish": []string{"rooms/hall"}},
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := token([]byte(secret), jwt.SigningMethodHS256, time.Hour, "us")
	url := "http://" + p.addr
	expectAnswer(t, "200 ", "POST", url+"/topics/rooms/hall", "x", "Authorization: Bearer "+good)
	expectAnswer(t, "403 ", "POST", url+"/topics/rooms/attic", "x", "Authorization: Bearer "+good)
	for _, bad := range []string{
		token([]byte(secret), jwt.SigningMethodHS256, -time.Hour, "us"), token([]byte(secret), jwt.SigningMethodHS256, time.Hour, "them"),
		token([]byte(secret+"\n"), jwt.SigningMethodHS256, time.Hour, "us"), token(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, time.Hour, "us"), good[:len(good)-2] + "AA",
	} {
		expectAnswer(t, `401 {"error":"unauthorized"`, "POST", url+"/topics/rooms/hall", "x", "Authorization: Bearer "+bad)
	}
	c := dial(t, p.addr)
	c.upgrade("/topics/rooms/%23?token=" + token([]byte(secret), jwt.SigningMethodHS256, 1500*time.Millisecond, "us"))
	c.send(fin|opPing, "")
	c.expect(opPong, "")
	if reason := c.expectClose(3000); !strings.Contains(reason, "expired") {
		t.Errorf("%q", reason)
	}
}

// TestTopicsJWTReloaded: keys of JWTs are those that the files have now; while these are of no use, those of before.
func TestTopicsJWTReloaded(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("0123456789", 4), strings.Repeat("9876543210", 4)
	file := tempFile(t, "secret", first)
	var log spoken
	p := serveTo(t, &log, nil, "--topics", "--topics-jwt-secret", file)
	publish := func(secret, want string) {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"exp": time.Now().Add(time.Hour).Unix(), "millrace": map[string]any{"publish": []string{"#"}},
		}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		expectAnswer(t, want, "POST", "http://"+p.addr+"/topics/a", "x", "Authorization: Bearer "+token)
	}
	publish(first, "200 ")
	publish(second, "401 ")
	writeFile(t, file, []byte("short"))
	p.signal(syscall.SIGHUP)
	log.expect(t, "keys of JWTs not reloaded, the old ones stay")
	log.expect(t, "a secret of 5 bytes: want 32 or more")
	publish(first, "200 ")
	writeFile(t, file, []byte(second))
	log.expect(t, "keys of JWTs reloaded") // looked at every 5 s
	publish(first, "401 ")
	publish(second, "200 ")
}

// TestTopicsJWTSecrets: a secret that is to be replaced stands beside its successor, each in a file of its own that is read again.
func TestTopicsJWTSecrets(t *testing.T) {
	t.Parallel()
	secrets := []string{strings.Repeat("0123456789", 4), strings.Repeat("9876543210", 4), strings.Repeat("5432109876", 4)}
	older, newer := tempFile(t, "older", secrets[0]), tempFile(t, "newer", secrets[1]+"\n")
	var log spoken
	p := serveTo(t, &log, nil, "--topics", "--topics-jwt-secret", older, "--topics-jwt-secret", newer)
	publish := func(want ...string) {
		t.Helper()
		for i, secret := range secrets {
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
				"exp": time.Now().Add(time.Hour).Unix(), "millrace": map[string]any{"publish": []string{"#"}},
			}).SignedString([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			expectAnswer(t, want[i], "POST", "http://"+p.addr+"/topics/a", "x", "Authorization: Bearer "+token)
		}
	}
	publish("200 ", "200 ", "401 ")
	writeFile(t, newer, []byte("short"))
	p.signal(syscall.SIGHUP)
	log.expect(t, newer+": a secret of 5 bytes: want 32 or more")
	publish("200 ", "200 ", "401 ")
	writeFile(t, newer, []byte(secrets[2]))
	p.signal(syscall.SIGHUP)
	log.expect(t, "keys of JWTs reloaded")
	publish("200 ", "401 ", "200 ")
}
