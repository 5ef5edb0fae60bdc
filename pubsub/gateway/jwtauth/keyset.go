package jwtauth

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

// # Key sets
//
// Those by URL are fetched by goroutines of the Verifier's own, not by those who bring tokens: a client
// that goes away ends no fetch that others wait for.

const (
	fetchTime  = 10 * time.Second
	fetchEach  = time.Hour
	fetchAgain = time.Minute // behind a failure, and at most, for tokens that name unknown keys
	maxSet     = 1 << 20     // bytes
	// maxWaiting bounds the tokens that wait for a fetch: each may hold one of the server's workers.
	maxWaiting = 256
)

// setKey is a public key of a key set.
type setKey struct {
	id, alg string // "": none
	key     crypto.PublicKey
}

// parseSet reads a key set. It leaves out secrets, keys for encryption, and keys of kinds that are unknown; if nothing is left, it is none: an
// answer that is no key set, as an error in JSON, does not take the keys of the last time away.
func parseSet(text []byte) (keys []setKey, err error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	for _, one := range set.Keys {
		if one.USE != "" && one.USE != jwkset.UseSig {
			continue
		}
		jwk, err := jwkset.NewJWKFromMarshal(one, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
		switch {
		case errors.Is(err, jwkset.ErrUnsupportedKey):
			continue
		case err != nil:
			return nil, err
		}
		key := jwk.Key()
		if private, ok := key.(interface{ Public() crypto.PublicKey }); ok {
			key = private.Public()
		}
		if _, secret := key.([]byte); !secret {
			keys = append(keys, setKey{one.KID, string(one.ALG), key})
		}
	}
	if len(keys) == 0 {
		return nil, errNoSet
	}
	return keys, nil
}

var errNoSet = errors.New("the key set has no public key for signatures")

// sets are the key sets that are fetched.
type sets struct {
	ctx     context.Context
	client  *http.Client
	onError func(error)
	urls    []string

	mu      sync.Mutex    // no other lock is taken under it
	keys    [][]setKey    // of each URL
	asked   time.Time     // when keys were last fetched for a token
	running chan struct{} // closed when that fetch is over; nil: there is none
	waiting int
}

// newSets fetches the URLs for the first time.
func newSets(ctx context.Context, o Options) (*sets, error) {
	s := &sets{ctx: ctx, client: o.Client, onError: o.OnError, urls: o.JWKSURLs, keys: make([][]setKey, len(o.JWKSURLs))}
	for _, text := range s.urls {
		if u, err := url.ParseRequestURI(text); err != nil || u.Host == "" {
			return nil, fmt.Errorf("%q is no URL of a key set", text)
		}
	}
	if s.client == nil {
		s.client = &http.Client{Timeout: fetchTime, CheckRedirect: keepHTTPS}
	}
	if len(s.urls) > 0 {
		next := s.fetch()
		go s.run(next)
	}
	return s, nil
}

// keepHTTPS follows redirects that nobody on the way can have made.
func keepHTTPS(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errors.New("too many redirects")
	case r.URL.Scheme != "https" && via[0].URL.Scheme == "https":
		return errors.New("a redirect from https to http")
	}
	return nil
}

// run fetches the sets now and then, until the context ends.
func (s *sets) run(next time.Duration) {
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
			timer.Reset(s.fetch())
		}
	}
}

// fetch fetches all URLs, and says when to do so again. A set that fails keeps its old keys.
func (s *sets) fetch() (next time.Duration) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTime)
	defer cancel()
	errs := make([]error, len(s.urls))
	var all sync.WaitGroup
	for i, from := range s.urls {
		all.Go(func() {
			keys, err := s.get(ctx, from)
			if errs[i] = err; err == nil {
				s.mu.Lock()
				s.keys[i] = keys
				s.mu.Unlock()
			}
		})
	}
	all.Wait()
	next = fetchEach
	for i, err := range errs {
		if err == nil || s.ctx.Err() != nil {
			continue
		}
		next = fetchAgain
		if s.onError != nil {
			s.onError(fmt.Errorf("%s: %w", withoutSecrets(s.urls[i]), err))
		}
	}
	return next
}

// withoutSecrets is a URL as a log may have it: without a user, a password and a query, which may be a key.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "a key set"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return u.String()
}

// get fetches one.
func (s *sets) get(ctx context.Context, from string) ([]setKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(r)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return nil, wrapped.Err // which does not have the URL
	} else if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxSet:
		return nil, fmt.Errorf("the key set is longer than %d bytes", maxSet)
	}
	return parseSet(text)
}

// find gives the keys for an algorithm: those of this id, or all if the token names none (nil), of other sets and of
// these.
func (s *sets) find(id *string, alg string, others [][]setKey) (keys []crypto.PublicKey) {
	for _, k := range s.and(others) {
		if (id == nil || k.id == *id) && (k.alg == "" || k.alg == alg) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// lack says whether neither these sets, of which there are some, nor others have a key of this id.
func (s *sets) lack(id string, others [][]setKey) bool {
	return len(s.urls) > 0 && !slices.ContainsFunc(s.and(others), func(k setKey) bool { return k.id == id })
}

// and gives the keys of others, and then of these.
func (s *sets) and(others [][]setKey) []setKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(slices.Concat(others, s.keys)...)
}

// refresh has the sets fetched for a token that names an unknown key, and waits for that as long as the token's
// context lasts. false: they were fetched for another one just now, or too many wait.
func (s *sets) refresh(ctx context.Context) bool {
	s.mu.Lock()
	done := s.running
	if done == nil {
		if now := time.Now(); s.asked.IsZero() || now.Sub(s.asked) >= fetchAgain {
			done = make(chan struct{})
			s.running, s.asked = done, now
			go s.fetchFor(done)
		}
	}
	waits := done != nil && s.waiting < maxWaiting
	if waits {
		s.waiting++
	}
	s.mu.Unlock()
	if !waits {
		return false
	}
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetchFor fetches the sets for those who wait for done.
func (s *sets) fetchFor(done chan struct{}) {
	s.fetch()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	close(done)
}
