package jwtauth_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millrace/millrace/pubsub/gateway/jwtauth"
)

// TestClaimsInWords: whoever makes tokens is told which claim is wrong, and how.
func TestClaimsInWords(t *testing.T) {
	t.Parallel()
	v := verifier(t, jwtauth.Options{Secrets: [][]byte{secret}})
	ahead := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	const malformed = "the token is malformed: "
	for _, c := range []struct{ claim, value, want string }{
		{"exp", "1798761600000", "the token's exp is in the year 58970: it is in seconds"},
		{"nbf", "1798761600000", "the token's nbf is in the year 58970: it is in seconds"},
		{"exp", "1e300", "it is in seconds"},
		{"exp", ahead(101 * 365 * 24 * time.Hour), "it is in seconds"},
		{"exp", `"` + ahead(time.Hour) + `"`, malformed + "exp is a number, the seconds since 1970, and not a text"},
		{"nbf", `{}`, malformed + "nbf is a number, the seconds since 1970, and not an object"},
		{"iat", `true`, malformed + "iat is a number, the seconds since 1970, and not a boolean"},
		{"sub", `7`, malformed + "sub can not be a JSON number"},
		{"millrace", `"#"`, malformed + "the claim millrace is an object, and not a text"},
		{"millrace", `["#"]`, malformed + "the claim millrace is an object, and not a list"},
		{"millrace", `{"publsh":["#"]}`, `the token's claim millrace: no such right: "publsh"`},
		{"millrace", `{"Publish":["#"]}`, `the token's claim millrace: no such right: "Publish"`},
		{"millrace", `{"` + strings.Repeat("x", 200) + `":[]}`, `x..."`},
		{"millrace", `{"publish":"#"}`, malformed + "in the claim millrace publish is a list of texts, and not a text"},
		{"millrace", `{"history":null}`, malformed + "in the claim millrace history is a list of texts, and not null"},
		{"millrace", `{"publish":[7]}`, malformed + "in the claim millrace publish is a list of texts"},
		{"millrace", `{"publish":["a/#/b"]}`, `the token's claim millrace: publish: not a topic's name: "a/#/b" has # before the last level`},
		{"millrace", `{"literal":1}`, malformed + "in the claim millrace literal is true or false, and not a number"},
	} {
		if _, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, secret, claims(c.claim, json.RawMessage(c.value)))); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.claim, c.value, err, c.want)
		}
	}
	if _, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("another", 10)), claims("millrace", json.RawMessage(`{"publsh":["#"]}`)))); err == nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("of a token that is forged: %v", err)
	}
	for _, value := range []string{`{"literal":true}`, `{}`, `{"history":[]}`} {
		if who, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, secret, claims("millrace", json.RawMessage(value), "exp", json.RawMessage(ahead(99*365*24*time.Hour))))); err != nil || who.Hint != "" {
			t.Errorf("%s: %+v, %v", value, who, err)
		}
	}
	for _, value := range []any{nil, json.RawMessage("null")} {
		if who, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, secret, claims("millrace", value))); err != nil || who.Hint != "the token has no claim millrace, which says what it allows" {
			t.Errorf("%v: %+v, %v", value, who, err)
		}
	}
}
