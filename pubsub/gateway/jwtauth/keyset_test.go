package jwtauth_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millrace/millrace/pubsub/gateway/jwtauth"
)

// source is where a key set is. It takes its time.
type source struct {
	delay time.Duration

	mu      sync.Mutex
	text    string // "" is away
	fetched int
	told    []error
}

func (s *source) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched++
	status := http.StatusOK
	if s.text == "" {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(s.text))}, nil
}

func (s *source) serve(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// counts are those of fetches, and of errors that were told.
func (s *source) counts() (fetched, told int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched, len(s.told)
}

// options are those for tokens with keys of this source.
func (s *source) options() jwtauth.Options {
	return jwtauth.Options{JWKSURLs: []string{"https://keys.example/set"}, Client: &http.Client{Transport: s}, NoExpiry: true, OnError: func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, err)
	}}
}

func keySetOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// TestRotation: a token with a new key waits for it, and whoever goes away takes it from nobody.
func TestRotation(t *testing.T) {
	t.Parallel()
	second, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &source{delay: 50 * time.Millisecond, text: keySetOf(jwk("one", &rsaKey.PublicKey, ""))}
		v := verifier(t, s.options())
		old, fresh := sign(t, jwt.SigningMethodRS256, rsaKey, claims(), "kid", "one"), sign(t, jwt.SigningMethodRS256, second, claims(), "kid", "two")
		good := func(token string, want bool) {
			t.Helper()
			if _, err := v.Authenticate(t.Context(), token); (err == nil) != want {
				t.Errorf("%v, want %v", err, want)
			}
		}
		good(old, true)
		s.serve(keySetOf(jwk("one", &rsaKey.PublicKey, ""), jwk("two", &second.PublicKey, "")))
		away, goes := context.WithCancel(t.Context())
		goes()
		if _, err := v.Authenticate(away, fresh); err == nil {
			t.Error("it was not waited for")
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { good(fresh, true) })
		}
		all.Wait()
		good(old, true)
		for range 50 {
			good(sign(t, jwt.SigningMethodRS256, second, claims(), "kid", "three"), false)
		}
		if n, told := s.counts(); n != 2 || told > 0 {
			t.Errorf("%d fetches, %d errors", n, told)
		}
		time.Sleep(time.Minute)
		good(sign(t, jwt.SigningMethodRS256, second, claims(), "kid", "three"), false)
		if n, _ := s.counts(); n != 3 {
			t.Errorf("%d fetches a minute later", n)
		}
		time.Sleep(time.Hour)
		if n, _ := s.counts(); n != 4 {
			t.Errorf("%d fetches an hour later", n)
		}
	})
}

// TestKeySetErrorsHaveNoSecrets: a log does not get what a URL lets in with.
func TestKeySetErrorsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	for _, client := range []*http.Client{nil, {Transport: &source{}}} { // nothing listens there; or the answer is an error
		told := make(chan string, 1)
		verifier(t, jwtauth.Options{JWKSURLs: []string{"http://ann:passed@127.0.0.1:1/set?key=hidden"}, Client: client, NoExpiry: true, OnError: func(err error) { told <- err.Error() }})
		if got := <-told; !strings.HasPrefix(got, "http://127.0.0.1:1/set: ") || strings.Contains(got, "passed") || strings.Contains(got, "hidden") {
			t.Errorf("told %q", got)
		}
	}
}

// TestKeySetAway: what can not be fetched is told, and asked for again in a minute; the old keys stay.
func TestKeySetAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{delay: time.Second}
		v := verifier(t, s.options())
		token := sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", nil)) // it names no key
		told := func(want int) {
			t.Helper()
			if _, n := s.counts(); n != want {
				t.Errorf("told %d times, want %d", n, want)
			}
		}
		if _, err := v.Authenticate(t.Context(), token); err == nil {
			t.Error("it is good without a key")
		}
		told(1)
		s.serve(keySetOf(jwk("one", &rsaKey.PublicKey, "")))
		time.Sleep(time.Minute + 2*time.Second)
		for i, wrong := range []string{strings.Repeat(" ", 1<<20) + keySetOf(), "no JSON", `{"keys":[{"kty":"RSA","n":"AQ"}]}`} {
			s.serve(wrong)
			if time.Sleep(time.Minute); i == 0 {
				time.Sleep(time.Hour - time.Minute)
			}
			time.Sleep(2 * time.Second)
			if _, err := v.Authenticate(t.Context(), token); err != nil {
				t.Error(err)
			}
			told(2 + i)
		}
	})
}

// TestManyWaiting: who names unknown keys while a set is slow holds few of the server's workers.
func TestManyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{delay: 5 * time.Second, text: keySetOf(jwk("one", &rsaKey.PublicKey, ""))}
		v := verifier(t, s.options())
		token := sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", nil), "kid", "two")
		var refused atomic.Int64
		for range 300 {
			go func() {
				if _, err := v.Authenticate(t.Context(), token); err != nil {
					refused.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := refused.Load(); n != 300-256 {
			t.Errorf("%d were refused at once", n)
		}
		time.Sleep(6 * time.Second)
		if n := refused.Load(); n != 300 {
			t.Errorf("%d were refused", n)
		}
	})
}

// TestEncryptionKey: a key for encryption verifies nothing, nor does one for another algorithm, whether it is named or not.
func TestEncryptionKey(t *testing.T) {
	t.Parallel()
	box := keySetOf(jwk("box", &rsaKey.PublicKey, `,"use":"enc"`), jwk("other", &rsaKey.PublicKey, `,"alg":"RS512"`))
	v := verifier(t, jwtauth.Options{JWKS: [][]byte{[]byte(box)}})
	for _, header := range [][]string{nil, {"kid", "box"}, {"kid", "other"}} {
		if _, err := v.Authenticate(t.Context(), sign(t, jwt.SigningMethodRS256, rsaKey, claims(), header...)); err == nil {
			t.Errorf("%q: it is good", header)
		}
	}
}

// TestSetKeys: keys that were given are those of the last time, while those that are fetched stay; what is of no use changes
// nothing.
func TestSetKeys(t *testing.T) {
	t.Parallel()
	fetched, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{text: keySetOf(jwk("fetched", &fetched.PublicKey, ""))}
	o := s.options()
	o.Secrets = [][]byte{secret}
	v := verifier(t, o)
	tokens := map[string]string{
		"secret": sign(t, jwt.SigningMethodHS256, secret, claims()), "key": sign(t, jwt.SigningMethodES256, p256, claims()),
		"set": sign(t, jwt.SigningMethodRS256, rsaKey, claims(), "kid", "given"), "fetched": sign(t, jwt.SigningMethodRS256, fetched, claims(), "kid", "fetched"),
	}
	expect := func(when string, want ...string) {
		t.Helper()
		for name, token := range tokens {
			if _, err := v.Authenticate(t.Context(), token); (err == nil) != slices.Contains(want, name) {
				t.Errorf("%s: %s: %v", when, name, err)
			}
		}
	}
	expect("at first", "secret", "fetched")
	for _, o := range []jwtauth.Options{
		{Secrets: [][]byte{[]byte("short")}}, {Keys: []crypto.PublicKey{nil}}, {JWKS: [][]byte{[]byte("no JSON")}}, {JWKS: [][]byte{[]byte(keySetOf())}},
	} {
		if v.SetKeys(o) == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	expect("after errors", "secret", "fetched")
	set := [][]byte{[]byte(keySetOf(jwk("given", &rsaKey.PublicKey, "")))}
	if err := v.SetKeys(jwtauth.Options{Keys: []crypto.PublicKey{&p256.PublicKey}, JWKS: set}); err != nil {
		t.Fatal(err)
	}
	expect("others", "key", "set", "fetched")
	if err := v.SetKeys(jwtauth.Options{}); err != nil {
		t.Fatal(err)
	}
	expect("none", "fetched")
	alone := verifier(t, jwtauth.Options{Secrets: [][]byte{secret}})
	if alone.SetKeys(jwtauth.Options{}) == nil {
		t.Error("nobody could come in")
	}
}

// TestSetWithoutKeys: an answer without a key is a failure. The keys of the last time stay, it is told, and tried again in a minute.
func TestSetWithoutKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{text: keySetOf(jwk("one", &rsaKey.PublicKey, ""))}
		v := verifier(t, s.options())
		token := sign(t, jwt.SigningMethodRS256, rsaKey, claims("exp", nil), "kid", "one")
		oct := `{"kty":"oct","kid":"shared","alg":"HS256","k":"AAAA"}`
		for i, answer := range []string{keySetOf(), `{}`, `{"error":"down"}`, `null`, keySetOf(oct), keySetOf(jwk("box", &rsaKey.PublicKey, `,"use":"enc"`))} {
			s.serve(answer)
			time.Sleep(2 * time.Hour)
			if _, err := v.Authenticate(t.Context(), token); err != nil {
				t.Errorf("behind %s: %v", answer, err)
			}
			if _, told := s.counts(); told < 50*(i+1) {
				t.Errorf("behind %s: told %d times", answer, told)
			}
		}
	})
}
