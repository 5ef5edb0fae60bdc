// Package jwtauth lets a gateway know its clients by JSON Web Tokens (RFC 7519), signed with HMAC, RSA, ECDSA
// or EdDSA. The claim sub is the user, exp the end of the connection, and the claim millrace has what the token
// allows:
//
//	{"sub": "ann", "exp": 1798761600, "millrace": {"subscribe": ["rooms/#"], "publish": ["rooms/hall"]}}
//
// A right that does not exist, a claim of the wrong type, and an exp or nbf more than a hundred years ahead, which is in milliseconds, are refused.
//
// What a token says of its algorithm only picks among the keys that are of that kind: a key never
// verifies what it is not for.
package jwtauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millrace/millrace/pubsub/gateway"
)

// Options say which tokens are good. There must be a key.
type Options struct {
	// Secrets are for HMAC, at least 32 bytes each.
	Secrets [][]byte
	// Keys are for RSA (at least 2,048 bits), ECDSA (P-256, P-384, P-521) and Ed25519. See ParseKeys.
	Keys []crypto.PublicKey
	// JWKS are JSON Web Key Sets (RFC 7517) with further keys, and JWKSURLs are where others are, by https or from
	// this machine. These are fetched again each hour, and when a token names a key that is not known, once a
	// minute at most; the token waits for that, if fewer than 256 do. Secrets in key sets are ignored, and so are keys for encryption.
	JWKS     [][]byte
	JWKSURLs []string
	// Issuer and Audience are the iss that a token must have, and one of its aud; "" is any.
	Issuer, Audience string
	// NoExpiry lets tokens without exp in; else they are refused.
	NoExpiry bool
	// Client fetches JWKSURLs; nil is one that follows no redirect from https to http. A fetch takes 10 s at most.
	Client *http.Client
	// OnError, if not nil, is called when JWKSURLs could not be fetched, or had no key: the old keys stay, and the next attempt
	// comes in a minute. Several goroutines may call it.
	OnError func(error)
}

const (
	minSecret = 32   // bytes, as RFC 7518 section 3.2 wants for HS256
	minRSA    = 2048 // bits, section 3.3
	leeway    = 5 * time.Second
)

// Verifier is a gateway.Authenticator. Several goroutines may use it.
type Verifier struct {
	given  atomic.Pointer[given]
	sets   *sets
	parser *jwt.Parser
}

// given are the keys that Options has itself.
type given struct {
	keys []any // secrets too
	sets [][]setKey
}

// New makes a Verifier. What it fetches it fetches until the context ends.
func New(ctx context.Context, o Options) (*Verifier, error) {
	v := &Verifier{}
	if err := v.SetKeys(o); err != nil {
		return nil, err
	}
	var err error
	if v.sets, err = newSets(ctx, o); err != nil {
		return nil, fmt.Errorf("jwtauth: %w", err)
	}
	parserOptions := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}),
		jwt.WithLeeway(leeway),
	}
	if !o.NoExpiry {
		parserOptions = append(parserOptions, jwt.WithExpirationRequired())
	}
	if o.Issuer != "" {
		parserOptions = append(parserOptions, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		parserOptions = append(parserOptions, jwt.WithAudience(o.Audience))
	}
	v.parser = jwt.NewParser(parserOptions...)
	return v, nil
}

// SetKeys has Secrets, Keys and JWKS of the options in the place of those before, such as when a file was read again.
// All else of the options counts for New alone. On an error all stays as it was. A connection whose
// token a key has verified that is no more stays until the token expires.
func (v *Verifier) SetKeys(o Options) error {
	g := &given{}
	for _, secret := range o.Secrets {
		if len(secret) < minSecret {
			return fmt.Errorf("jwtauth: a secret of %d bytes: want %d or more, as from: openssl rand -base64 48", len(secret), minSecret)
		}
		g.keys = append(g.keys, secret)
	}
	for _, key := range o.Keys {
		if err := checkKey(key); err != nil {
			return fmt.Errorf("jwtauth: %w", err)
		}
		g.keys = append(g.keys, key)
	}
	for _, text := range o.JWKS {
		keys, err := parseSet(text)
		switch {
		case errors.Is(err, errNoSet):
			return fmt.Errorf("jwtauth: %w", err)
		case err != nil:
			return fmt.Errorf("jwtauth: the key set can't be read: %w", err)
		}
		g.sets = append(g.sets, keys)
	}
	urls := o.JWKSURLs
	if v.sets != nil {
		urls = v.sets.urls
	}
	if len(g.keys)+len(g.sets)+len(urls) == 0 {
		return errors.New("jwtauth: there is no key")
	}
	v.given.Store(g)
	return nil
}

// Authenticate implements gateway.Authenticator.
func (v *Verifier) Authenticate(ctx context.Context, token string) (gateway.Identity, error) {
	if strings.Count(token, ".") != 2 {
		return gateway.Identity{}, gateway.ErrNotMine
	}
	c, unknown, err := v.verify(token)
	if unknown && v.sets.refresh(ctx) {
		c, _, err = v.verify(token)
	}
	if err != nil {
		return gateway.Identity{}, inWords(err)
	}
	rights, hint, err := c.rights()
	if err != nil {
		return gateway.Identity{}, err
	}
	who := gateway.Identity{User: c.Subject, Rights: rights, Hint: hint}
	if c.ExpiresAt != nil {
		who.Expires = c.ExpiresAt.Time
	}
	return who, nil
}

// verify verifies a token. unknown: it might be good if there were the key that it names.
func (v *Verifier) verify(token string) (c *claims, unknown bool, err error) {
	c = &claims{}
	_, err = v.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		id, named := t.Header["kid"].(string)
		unknown = named && v.sets.lack(id, v.given.Load().sets)
		return v.keysFor(t)
	})
	unknown = unknown && (errors.Is(err, errNoKey) || errors.Is(err, jwt.ErrTokenSignatureInvalid))
	return c, unknown, err
}

// keysFor gives the keys that may verify a token: those of the kind that its algorithm is for.
func (v *Verifier) keysFor(t *jwt.Token) (any, error) {
	if _, there := t.Header["crit"]; there { // RFC 7515 section 4.1.11: none of them is known here
		return nil, errCritical
	}
	var found jwt.VerificationKeySet
	add := func(key any) {
		if fits(t.Method, key) {
			found.Keys = append(found.Keys, key)
		}
	}
	g := v.given.Load()
	for _, key := range g.keys {
		add(key)
	}
	var id *string
	if named, there := t.Header["kid"]; there {
		text, _ := named.(string)
		id = &text // what is no text names no key
	}
	for _, key := range v.sets.find(id, t.Method.Alg(), g.sets) {
		add(key)
	}
	if len(found.Keys) == 0 {
		return nil, errNoKey
	}
	return found, nil
}

var (
	errNoKey    = errors.New("no key for this token")
	errCritical = errors.New("the token's header has crit, and no such extension is known here")
)

// fits says whether a key is for signatures of this kind.
func fits(method jwt.SigningMethod, key any) bool {
	switch m := method.(type) {
	case *jwt.SigningMethodHMAC:
		_, ok := key.([]byte)
		return ok
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		k, ok := key.(*rsa.PublicKey)
		return ok && checkKey(k) == nil
	case *jwt.SigningMethodECDSA:
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve.Params().BitSize == m.CurveBits
	case *jwt.SigningMethodEd25519:
		_, ok := key.(ed25519.PublicKey)
		return ok
	}
	return false
}

// checkKey says why a key is none for signatures.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key of %d bits: want %d or more", k.N.BitLen(), minRSA)
		}
	case *ecdsa.PublicKey:
		if bits := k.Curve.Params().BitSize; bits < 256 {
			return fmt.Errorf("an ECDSA key of %d bits: want P-256, P-384 or P-521", bits)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("a key of type %T: want RSA, ECDSA or Ed25519", key)
	}
	return nil
}

// inWords is what a client is told: nothing of the keys.
func inWords(err error) error {
	for _, known := range []struct {
		err  error
		text string
	}{
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenInvalidIssuer, "the token is of another issuer"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a claim: it needs exp, and iss and aud where they are asked for"},
		{errNoKey, "no key here is for the token"},
		{errCritical, errCritical.Error()},
		{jwt.ErrTokenSignatureInvalid, "the token's signature is wrong"},
	} {
		if errors.Is(err, known.err) {
			return errors.New(known.text)
		}
	}
	if wrong, ok := errors.AsType[claimError](err); ok {
		return wrong
	}
	return errors.New("the token is malformed")
}

// ParseKeys reads public keys, and certificates for theirs, in PEM.
func ParseKeys(text []byte) (keys []crypto.PublicKey, err error) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		var key crypto.PublicKey
		switch b.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(b.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(b.Bytes)
		case "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(b.Bytes); err == nil {
				key = cert.PublicKey
			}
		default:
			err = fmt.Errorf("a block %q: want PUBLIC KEY, as from: openssl pkey -in private.pem -pubout", b.Type)
		}
		if err == nil {
			err = checkKey(key)
		}
		if err != nil {
			return nil, fmt.Errorf("jwtauth: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("jwtauth: no public key in PEM")
	}
	return keys, nil
}
