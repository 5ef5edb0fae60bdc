package serve

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/reload"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/pubsub/gateway/jwtauth"
	"github.com/millrace/millrace/pubsub/gateway/keyfile"
)

// authenticators reads the keys. tokens are those of files for JWTs, nil if there are none.
func (t *topicsOptions) authenticators(ctx context.Context, o *gateway.Options, log *slog.Logger) (tokens reloaded, err error) {
	if t.keys != "" {
		keys, err := keyfile.Read(t.keys, func(err error) {
			switch {
			case err == nil:
				log.Info("topic keys reloaded")
			case errors.Is(err, keyfile.ErrAnonymous):
				log.Warn("topic keys reloaded, but not what everybody may do: start anew for that")
			default:
				log.Error("topic keys not reloaded, the old ones stay", "err", err)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("--topics-keys: %w", err)
		}
		o.Auth, o.Anonymous = append(o.Auth, keys), keys.Anonymous()
	}
	if !t.jwt() {
		return nil, nil
	}
	var verifier *jwtauth.Verifier
	files, err := reload.Read(t.tokenFiles(), func() (*jwtauth.Options, error) {
		j, err := t.tokenKeys()
		if err == nil && verifier != nil {
			err = verifier.SetKeys(*j)
		}
		return j, err
	})
	if err != nil {
		return nil, err
	}
	j := *files.Current()
	j.Issuer, j.Audience, j.NoExpiry = t.issuer, t.audience, t.noExpiry
	j.OnError = func(err error) {
		log.Warn("key set not fetched", "err", err, "stay", "the keys of the last time, if there was one")
	}
	if verifier, err = jwtauth.New(ctx, j); err != nil {
		return nil, fmt.Errorf("--topics-jwt-...: %w", err)
	}
	o.Auth = append(o.Auth, verifier)
	if len(t.tokenFiles()) == 0 {
		return nil, nil
	}
	return files, nil
}

// tellRights logs who may do what.
func (t *topicsOptions) tellRights(o *gateway.Options, log *slog.Logger) {
	anybody := "subscribing to topics, and their history"
	switch {
	case o.Local:
		anybody = "everything, from this machine alone"
	case o.Open:
		anybody = "everything"
	case o.Anonymous != nil:
		anybody = rightsOf(o.Anonymous)
	}
	var tokens []string
	if t.keys != "" {
		tokens = append(tokens, "keys")
	}
	if t.jwt() {
		tokens = append(tokens, "JWTs")
	}
	log.Info("topics are served", "anybody_may", anybody, "tokens", cmp.Or(strings.Join(tokens, ", "), "none"))
}

// rightsOf names the rights that are for something.
func rightsOf(r *gateway.Rights) string {
	var names []string
	for _, right := range []struct {
		name     string
		patterns []string
	}{{"subscribe", r.Subscribe}, {"publish", r.Publish}, {"history", r.History}, {"presence", r.Presence}, {"purge", r.Purge}} {
		if len(right.patterns) > 0 {
			names = append(names, right.name)
		}
	}
	return cmp.Or(strings.Join(names, ", "), "nothing")
}

// tokenFiles are the files with keys of JWTs.
func (t *topicsOptions) tokenFiles() (names []string) {
	names = slices.Concat(t.secrets, t.publicKey)
	for _, where := range t.jwks {
		if !isURL(where) {
			names = append(names, where)
		}
	}
	return names
}

func isURL(where string) bool { return strings.Contains(where, "://") }

// tokenKeys reads the files with keys of JWTs. An error says which flag's file is of no use.
func (t *topicsOptions) tokenKeys() (*jwtauth.Options, error) {
	j := &jwtauth.Options{}
	for _, file := range t.secrets {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--topics-jwt-secret: %w", err)
		}
		secret := bytes.TrimSpace(text)
		if err := usable("topics-jwt-secret", file, jwtauth.Options{Secrets: [][]byte{secret}}); err != nil {
			return nil, err
		}
		j.Secrets = append(j.Secrets, secret)
	}
	for _, file := range t.publicKey {
		text, err := os.ReadFile(file)
		var keys []crypto.PublicKey
		if err == nil {
			keys, err = jwtauth.ParseKeys(text)
		}
		if err != nil {
			return nil, fmt.Errorf("--topics-jwt-key %s: %w", file, err)
		}
		j.Keys = append(j.Keys, keys...)
	}
	for _, where := range t.jwks {
		if isURL(where) {
			j.JWKSURLs = append(j.JWKSURLs, where)
			continue
		}
		text, err := os.ReadFile(where)
		if err != nil {
			return nil, fmt.Errorf("--topics-jwt-jwks: %w", err)
		}
		if err := usable("topics-jwt-jwks", where, jwtauth.Options{JWKS: [][]byte{text}}); err != nil {
			return nil, err
		}
		j.JWKS = append(j.JWKS, text)
	}
	return j, nil
}

// usable says which flag's file is of no use.
func usable(flag, file string, o jwtauth.Options) error {
	if err := new(jwtauth.Verifier).SetKeys(o); err != nil {
		return fmt.Errorf("--%s: %s: %s", flag, file, strings.TrimPrefix(err.Error(), "jwtauth: "))
	}
	return nil
}
