package jwtauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/pubsub/gateway/jwtauth"
)

var (
	secret      = []byte("a secret of thirty-two bytes ....")
	rsaKey, _   = rsa.GenerateKey(rand.Reader, 2048)
	p256, _     = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _     = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, edKey, _ = ed25519.GenerateKey(rand.Reader)
)

// claims are good ones, with changes.
func claims(changes ...any) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iss": "us", "aud": []string{"topics", "other"},
		"millrace": map[string]any{"subscribe": []string{"rooms/#"}, "publish": []string{"rooms/hall"}, "history": []string{}},
	}
	for i := 0; i < len(changes); i += 2 {
		if c[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(c, changes[i].(string))
		}
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims, header ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i]] = header[i+1]
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func verifier(t *testing.T, o jwtauth.Options) *jwtauth.Verifier {
	t.Helper()
	v, err := jwtauth.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	v := verifier(t, jwtauth.Options{Secrets: [][]byte{[]byte(strings.Repeat("another", 10)), secret}, Keys: []crypto.PublicKey{&rsaKey.PublicKey, &p256.PublicKey, &p384.PublicKey, edKey.Public()}, Issuer: "us", Audience: "topics"})
	for _, c := range []struct {
		method jwt.SigningMethod
		key    any
	}{
		{jwt.SigningMethodHS256, secret}, {jwt.SigningMethodHS512, secret}, {jwt.SigningMethodRS256, rsaKey}, {jwt.SigningMethodPS384, rsaKey},
		{jwt.SigningMethodES256, p256}, {jwt.SigningMethodES384, p384}, {jwt.SigningMethodEdDSA, edKey},
	} {
		got := claims()
		who, err := v.Authenticate(t.Context(), sign(t, c.method, c.key, got))
		want := gateway.Identity{
			User: "ann", Expires: time.Unix(got["exp"].(int64), 0),
			Rights: gateway.Rights{Subscribe: []string{"rooms/#"}, Publish: []string{"rooms/hall"}, History: []string{}},
		}
		if err != nil || !reflect.DeepEqual(who, want) {
			t.Errorf("%s: %+v, %v", c.method.Alg(), who, err)
		}
	}
}

// encode is a part of a token.
func encode(v any) string {
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestForged: nobody gets in without a key.
func TestForged(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	asymmetric := verifier(t, jwtauth.Options{Keys: []crypto.PublicKey{&rsaKey.PublicKey, &p384.PublicKey}, Issuer: "us", Audience: "topics"})
	both := verifier(t, jwtauth.Options{Secrets: [][]byte{secret}, Keys: []crypto.PublicKey{&rsaKey.PublicKey}})
	none := func(alg string) string {
		return encode(map[string]string{"alg": alg, "typ": "JWT"}) + "." + encode(claims()) + "."
	}
	good := sign(t, jwt.SigningMethodRS256, rsaKey, claims())
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct {
		token, want string
	}{
		"HMAC with the public key in PEM": {sign(t, jwt.SigningMethodHS256, publicPEM(t, &rsaKey.PublicKey), claims()), "no key here"},
		"HMAC with the public key in DER": {sign(t, jwt.SigningMethodHS256, der, claims()), "no key here"},
		"HMAC with the modulus":           {sign(t, jwt.SigningMethodHS256, rsaKey.N.Bytes(), claims()), "no key here"},
		"none":                            {none("none"), "malformed|signature"},
		"None":                            {none("None"), "malformed|signature"},
		"nOnE":                            {none("nOnE"), "malformed|signature"},
		"no alg":                          {none(""), "malformed|signature"},
		"an unknown alg":                  {none("XS256"), "malformed|signature"},
		"without the signature":           {parts[0] + "." + parts[1] + ".", "malformed|signature"},
		"another one's claims":            {parts[0] + "." + encode(claims("sub", "eve")) + "." + parts[2], "signature"},
		"another header":                  {encode(map[string]string{"alg": "RS512"}) + "." + parts[1] + "." + parts[2], "signature"},
		"another key":                     {sign(t, jwt.SigningMethodES256, other, claims()), "no key here"},
		"a curve that is not the alg's":   {sign(t, jwt.SigningMethodES256, p256, claims()), "no key here"},
		"Ed25519":                         {sign(t, jwt.SigningMethodEdDSA, edKey, claims()), "no key here"},
		"expired":                         {sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", time.Now().Add(-time.Minute).Unix())), "has expired"},
		"without exp":                     {sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", nil)), "lacks a claim"},
		"exp as a text":                   {sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", "tomorrow")), "malformed"},
		"exp as a number in quotes":       {sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))), "malformed"},
		"crit":                            {sign(t, jwt.SigningMethodRS256, rsaKey, claims(), "crit", "exp"), "has crit"},
		"not yet":                         {sign(t, jwt.SigningMethodRS256, rsaKey, claims("nbf", time.Now().Add(time.Hour).Unix())), "not valid yet"},
		"another issuer":                  {sign(t, jwt.SigningMethodRS256, rsaKey, claims("iss", "them")), "another issuer"},
		"no issuer":                       {sign(t, jwt.SigningMethodRS256, rsaKey, claims("iss", nil)), "lacks a claim|issuer"},
		"another audience":                {sign(t, jwt.SigningMethodRS256, rsaKey, claims("aud", "mail")), "another audience"},
		"no audience":                     {sign(t, jwt.SigningMethodRS256, rsaKey, claims("aud", nil)), "lacks a claim|audience"},
		"a pattern that is none":          {sign(t, jwt.SigningMethodRS256, rsaKey, claims("millrace", map[string]any{"publish": []string{"a/#/b"}})), "# before the last level"},
		"rights that are none":            {sign(t, jwt.SigningMethodRS256, rsaKey, claims("millrace", "#")), "malformed"},
		"three empty parts":               {"..", "malformed"},
		"no JSON":                         {"a.b.c", "malformed"},
		"its own key in the header (jwk)": {sign(t, jwt.SigningMethodES256, other, claims(), "jwk", "{}", "jku", "https://evil.example"), "no key here"},
	} {
		who, err := asymmetric.Authenticate(t.Context(), c.token)
		found := err != nil
		if found {
			found = false
			for want := range strings.SplitSeq(c.want, "|") {
				found = found || strings.Contains(err.Error(), want)
			}
		}
		if !found || errors.Is(err, gateway.ErrNotMine) {
			t.Errorf("%s: %+v, %v, want %q", name, who, err, c.want)
		}
	}
	if _, err := both.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, publicPEM(t, &rsaKey.PublicKey), claims())); err == nil {
		t.Error("a public key is taken for a secret")
	}
}

// TestNotMine: what is no token is left to others, and what is no key is refused.
func TestNotMine(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	asymmetric := verifier(t, jwtauth.Options{Keys: []crypto.PublicKey{&rsaKey.PublicKey}})
	for _, token := range []string{"", "a", "a.b", "a.b.c.d", strings.Repeat(".", 9)} {
		if _, err := asymmetric.Authenticate(t.Context(), token); !errors.Is(err, gateway.ErrNotMine) {
			t.Errorf("%q: %v", token, err)
		}
	}
	for _, o := range []jwtauth.Options{
		{}, {Secrets: [][]byte{[]byte("short")}}, {Keys: []crypto.PublicKey{&weak.PublicKey}}, {Keys: []crypto.PublicKey{"key"}}, {JWKS: [][]byte{[]byte("x")}},
	} {
		if v, err := jwtauth.New(t.Context(), o); err == nil {
			t.Errorf("%+v: %+v", o, v)
		}
	}
}

// TestNoExpiry: exp may be left out only where that was asked for.
func TestNoExpiry(t *testing.T) {
	t.Parallel()
	v := verifier(t, jwtauth.Options{Secrets: [][]byte{secret}, NoExpiry: true})
	if who, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, secret, claims("exp", nil))); err != nil || !who.Expires.IsZero() {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodHS256, secret, claims("exp", 1))); err == nil {
		t.Error("an expired one is let in")
	}
}

func jwk(kid string, key *rsa.PublicKey, more string) string {
	return fmt.Sprintf(`{"kty":"RSA","kid":%q,"n":%q,"e":"AQAB"%s}`, kid, base64.RawURLEncoding.EncodeToString(key.N.Bytes()), more)
}

// TestKeySets are by text and by URL.
func TestKeySets(t *testing.T) {
	t.Parallel()
	second, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	oct := fmt.Sprintf(`{"kty":"oct","kid":"shared","alg":"HS256","k":%q}`, base64.RawURLEncoding.EncodeToString(secret))
	first := `{"keys":[` + jwk("one", &rsaKey.PublicKey, `,"alg":"RS256","use":"sig"`) + `,` + jwk("box", &second.PublicKey, `,"use":"enc"`) + `,` + oct + `]}`
	var served atomic.Value
	served.Store(first)
	var fetched atomic.Int64
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write([]byte(served.Load().(string)))
	}))
	defer source.Close()
	for name, v := range map[string]*jwtauth.Verifier{"text": verifier(t, jwtauth.Options{JWKS: [][]byte{[]byte(first)}}), "URL": verifier(t, jwtauth.Options{JWKSURLs: []string{source.URL}})} {
		for token, ok := range map[string]bool{
			sign(t, jwt.SigningMethodRS256, rsaKey, claims(), "kid", "one"):                          true,
			sign(t, jwt.SigningMethodRS256, rsaKey, claims()):                                        true,
			sign(t, jwt.SigningMethodRS512, rsaKey, claims(), "kid", "one"):                          false, // the key says RS256
			sign(t, jwt.SigningMethodRS256, second, claims(), "kid", "box"):                          false, // it is for encryption
			sign(t, jwt.SigningMethodHS256, secret, claims(), "kid", "shared"):                       false,
			sign(t, jwt.SigningMethodHS256, secret, claims()):                                        false,
			sign(t, jwt.SigningMethodRS256, rsaKey, claims(), "kid", "two"):                          false,
			sign(t, jwt.SigningMethodHS256, publicPEM(t, &rsaKey.PublicKey), claims(), "kid", "one"): false,
		} {
			if _, err := v.Authenticate(t.Context(), token); (err == nil) != ok {
				t.Errorf("%s: %v, want %v for %s", name, err, ok, token)
			}
		}
	}
	// A key that is new is fetched when a token names it, and whoever makes up others has little fetched.
	v := verifier(t, jwtauth.Options{JWKSURLs: []string{source.URL}})
	served.Store(`{"keys":[` + jwk("new", &second.PublicKey, "") + `]}`)
	if _, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodRS256, second, claims(), "kid", "new")); err != nil {
		t.Error(err)
	}
	before := fetched.Load()
	for i := range 50 {
		if _, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodRS256, second, claims(), "kid", fmt.Sprint(i))); err == nil {
			t.Error("an unknown key is good")
		}
	}
	if n := fetched.Load() - before; n > 2 {
		t.Errorf("%d fetches", n)
	}
	// A set that is not there is told, and its keys come when it is.
	var told atomic.Int64
	away := httptest.NewServer(http.NotFoundHandler())
	defer away.Close()
	v = verifier(t, jwtauth.Options{JWKSURLs: []string{away.URL}, OnError: func(error) { told.Add(1) }})
	if _, err := v.Authenticate(context.Background(), sign(t, jwt.SigningMethodRS256, rsaKey, claims(), "kid", "one")); err == nil || told.Load() == 0 {
		t.Errorf("%v, told %d times", err, told.Load())
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	text := append(publicPEM(t, &rsaKey.PublicKey), publicPEM(t, edKey.Public())...)
	if keys, err := jwtauth.ParseKeys(text); err != nil || len(keys) != 2 {
		t.Errorf("%v, %v", keys, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))} {
		if keys, err := jwtauth.ParseKeys([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, keys)
		}
	}
}

// FuzzAuthenticate: whatever the token, it is refused.
func FuzzAuthenticate(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA")
	v, err := jwtauth.New(f.Context(), jwtauth.Options{Secrets: [][]byte{secret}, Keys: []crypto.PublicKey{&rsaKey.PublicKey}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if who, err := v.Authenticate(context.Background(), token); err == nil {
			t.Errorf("%q: %+v", token, who)
		}
	})
}
