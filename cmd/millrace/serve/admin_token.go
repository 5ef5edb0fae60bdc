package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	minToken    = 16      // bytes; fewer could be guessed
	maxToken    = 4 << 10 // of the file
	tokenPeriod = time.Second
)

// token is what the admin address wants to hear, as a file has it. Nothing of it is
// kept but its hash, and nothing of it, nor of what somebody has tried, is told in an
// error or in the log; the file's name neither, since that may be the token by mistake.
type token struct {
	file string

	mu     sync.Mutex // over the reading of the file too: nobody holds another lock
	hash   [sha256.Size]byte
	looked time.Time
	broken bool // the file could not be read when it was looked at last
}

// readToken reads the file for the first time.
func readToken(file string) (*token, error) {
	hash, err := hashOf(file)
	if err != nil {
		return nil, fmt.Errorf("--admin-token-file: %w", err)
	}
	return &token{file: file, hash: hash, looked: time.Now()}, nil
}

// hashOf is the hash of a file's token, which is its text without space around it.
func hashOf(file string) (hash [sha256.Size]byte, err error) {
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(f, maxToken+1)); err == nil {
			return hashToken(text)
		}
	}
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return hash, fmt.Errorf("the file can't be read: %w", err)
}

func hashToken(text []byte) (hash [sha256.Size]byte, err error) {
	secret := strings.TrimSpace(string(text))
	printable := !strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' })
	switch {
	case len(text) > maxToken:
		return hash, fmt.Errorf("the file is longer than %d bytes", maxToken)
	case !printable:
		return hash, errors.New("the token must be ASCII without space in it")
	case len(secret) < minToken:
		return hash, fmt.Errorf("the token must have %d characters or more, as from: openssl rand -hex 32", minToken)
	}
	return sha256.Sum256([]byte(secret)), nil
}

// now is the hash of the token that the file has now, or had when it last had one. The
// file is looked at once a second at most.
func (t *token) now(log *slog.Logger) [sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) < tokenPeriod {
		return t.hash
	}
	t.looked = time.Now()
	hash, err := hashOf(t.file)
	switch {
	case err != nil && !t.broken:
		log.Error("admin token not reloaded, the old one stays", "err", err)
	case err == nil && hash != t.hash:
		log.Info("admin token reloaded")
	}
	if t.broken = err != nil; err == nil {
		t.hash = hash
	}
	return t.hash
}

// guard has next answer who knows the token only. A browser asks its user: Basic
// authentication's password is the token, whoever the user is.
func (t *token) guard(next http.Handler, log *slog.Logger) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := sha256.Sum256([]byte(secretOf(r)))
		want := t.now(log)
		if subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Add("WWW-Authenticate", `Basic realm="millrace", charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="millrace"`)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "this needs the token of --admin-token-file: Authorization: Bearer TOKEN, or as the password of any user",
			http.StatusUnauthorized)
	})
}

// secretOf is what a request brings as the token (RFC 6750 section 2.1, RFC 7617).
func secretOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(secret, " ")
}
