package keyfile

import (
	"crypto/sha256"

	"github.com/millrace/millrace/pubsub/gateway"
)

// guesses are keys that stand in examples, and what people take for a moment and forget.
var guesses = []string{
	"KEY", "TOKEN", "SECRET", "test", "token", "secret", "password", "changeme", "example", "admin", "hello", "1234", "12345", "123456", "press", "desk", "builds",
}

// shortKeys are made of these, and have three of them at most.
const shortKeys = "abcdefghijklmnopqrstuvwxyz0123456789"

// guessed finds a key that anybody guesses: one of guesses, or a short one. "" is none. It hashes some 50,000 texts, which
// takes milliseconds, and a file is read only when it has changed.
func guessed(keys map[hash]gateway.Identity) (name string) {
	found := func(key []byte) bool {
		who, ok := keys[sha256.Sum256(key)]
		if ok {
			name = who.Name
		}
		return ok
	}
	for _, guess := range guesses {
		if found([]byte(guess)) {
			return name
		}
	}
	var key [3]byte
	for _, key[0] = range []byte(shortKeys) {
		if found(key[:1]) {
			return name
		}
		for _, key[1] = range []byte(shortKeys) {
			if found(key[:2]) {
				return name
			}
			for _, key[2] = range []byte(shortKeys) {
				if found(key[:3]) {
					return name
				}
			}
		}
	}
	return ""
}
