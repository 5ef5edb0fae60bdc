// Package keyfile lets a gateway know its clients by keys. A file in YAML has their hashes, and what each
// may:
//
//	keys:
//	  - name: builds
//	    sha256: HASH-OF-THE-KEY
//	    publish: [builds/#]
//	anonymous:
//	  subscribe: [builds/#]
//
// A key is a secret that nobody can guess, as from openssl rand -hex 32; sha256 is its hash in hexadecimal digits, as
// from: printf %s KEY | sha256sum. Keys that anybody guesses are refused. A client brings the key itself as its token.
package keyfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/millrace/millrace/pubsub/gateway"
)

// Bounds of a file.
const (
	maxFile = 16 << 20 // bytes
	maxKeys = 100_000
)

// key is an entry of the file.
type key struct {
	Name           string `yaml:"name"`
	SHA256         string `yaml:"sha256"`
	User           string `yaml:"user"`
	gateway.Rights `yaml:",inline"`
}

// contents are a file's.
type contents struct {
	Keys      []key           `yaml:"keys"`
	Anonymous *gateway.Rights `yaml:"anonymous"`
}

// hash is that of a key.
type hash [sha256.Size]byte

// File is a gateway.Authenticator. It reads the file again when that has changed. Several goroutines may
// use it.
type File struct {
	name      string
	onReload  func(error)
	anonymous *gateway.Rights

	mu      sync.Mutex // guards what follows but seen; not held while the file is read
	keys    map[hash]gateway.Identity
	looked  time.Time
	looking bool // somebody reads the file
	seen    hash // of the file, zero if it could not be read; belongs to the goroutine that set looking
}

// period is how often the file is read, at most: only what stands in it tells whether it has changed.
const period = time.Second

// ErrAnonymous: the file was read again, and its keys count. What it lets everybody do has changed too, and counts
// as it was first read.
var ErrAnonymous = errors.New("keyfile: what everybody may do has changed, and stays as it was at the start")

// Read reads a file. onReload, if not nil, is called when it was read again, with an error if it
// can not be used: then the keys are still the old ones, but for ErrAnonymous. An asker's goroutine calls it, one at a time.
func Read(name string, onReload func(error)) (*File, error) {
	f := &File{name: name, onReload: onReload, looked: time.Now()}
	text, err := read(name)
	if err != nil {
		return nil, err
	}
	f.seen = sha256.Sum256(text)
	f.keys, f.anonymous, err = f.parse(text)
	return f, err
}

// Anonymous is what the file lets everybody do, as it was first read; nil: it does not say.
func (f *File) Anonymous() *gateway.Rights { return f.anonymous }

// Authenticate implements gateway.Authenticator.
func (f *File) Authenticate(_ context.Context, token string) (gateway.Identity, error) {
	who, ok := f.now()[sha256.Sum256([]byte(token))]
	if !ok {
		return gateway.Identity{}, gateway.ErrNotMine
	}
	return who, nil
}

// now are the keys as the file has them. One of those who ask reads it; meanwhile others have the old ones.
func (f *File) now() map[hash]gateway.Identity {
	f.mu.Lock()
	keys := f.keys
	look := !f.looking && time.Since(f.looked) >= period
	f.looking = f.looking || look
	f.mu.Unlock()
	if !look {
		return keys
	}
	changed, err := f.look()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looking, f.looked = false, time.Now(); err == nil && changed != nil {
		f.keys = changed
	}
	return f.keys
}

// look reads the file, and gives its keys if it has changed.
func (f *File) look() (keys map[hash]gateway.Identity, err error) {
	var now hash
	text, err := read(f.name)
	if err == nil {
		now = sha256.Sum256(text)
	}
	if now == f.seen {
		return nil, nil // it is as it was, or away as before
	}
	f.seen = now
	var anonymous *gateway.Rights
	if err == nil {
		keys, anonymous, err = f.parse(text)
	}
	if f.onReload == nil {
		return keys, err
	}
	told := err
	if err == nil && !reflect.DeepEqual(anonymous, f.anonymous) {
		told = ErrAnonymous
	}
	f.onReload(told)
	return keys, err
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: longer than %d bytes", name, maxFile)
	}
	return text, err
}

func (f *File) parse(text []byte) (map[hash]gateway.Identity, *gateway.Rights, error) {
	keys, anonymous, err := parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return keys, anonymous, nil
}

// checkValues refuses a field without a value, as when all below it is commented out: who leaves everything out of anonymous
// or history does not mean what they are when they are not given.
func checkValues(text []byte) error {
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return errors.New(yaml.FormatError(err, false, false)) // as in parse
	}
	if given, there := all["anonymous"]; there && given == nil {
		return errors.New("anonymous has no value: write anonymous: {} if nobody may do anything without a key, or leave the line out, " +
			"and everybody may subscribe to all topics")
	}
	entries, _ := all["keys"].([]any)
	for _, entry := range append(entries, all["anonymous"]) {
		fields, _ := entry.(map[string]any)
		for name, value := range fields {
			if value == nil {
				return fmt.Errorf("a field %s has no value: write %s: [] if it is for nothing", name, name)
			}
		}
	}
	return nil
}

func parse(text []byte) (map[hash]gateway.Identity, *gateway.Rights, error) {
	var c contents
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.DisallowUnknownField()); err != nil {
		return nil, nil, errors.New(yaml.FormatError(err, false, false)) // without what stands there
	}
	if err := checkValues(text); err != nil {
		return nil, nil, err
	}
	if len(c.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("%d keys, at most %d are allowed", len(c.Keys), maxKeys)
	}
	if len(c.Keys) == 0 && c.Anonymous == nil {
		return nil, nil, errors.New("neither keys nor anonymous are there: nobody could do anything")
	}
	keys, names := map[hash]gateway.Identity{}, map[string]bool{}
	for i, k := range c.Keys {
		var h hash
		sum, err := hex.DecodeString(k.SHA256)
		copy(h[:], sum)
		_, twice := keys[h]
		switch {
		case k.Name == "":
			return nil, nil, fmt.Errorf("key %d has no name", i+1)
		case names[k.Name]:
			return nil, nil, fmt.Errorf("two keys have the name %q", k.Name)
		case err != nil || len(sum) != len(h):
			return nil, nil, fmt.Errorf("key %q: sha256 is the hash of the key, 64 hexadecimal digits, as from: printf %%s KEY | sha256sum", k.Name)
		case h == sha256.Sum256(nil):
			return nil, nil, fmt.Errorf("key %q: sha256 is that of nothing", k.Name)
		case twice:
			return nil, nil, fmt.Errorf("key %q: another key has the same sha256", k.Name)
		}
		if err := k.Check(); err != nil {
			return nil, nil, fmt.Errorf("key %q: %w", k.Name, err)
		}
		keys[h], names[k.Name] = gateway.Identity{Name: k.Name, User: k.User, Rights: k.Rights}, true
	}
	if name := guessed(keys); name != "" {
		return nil, nil, fmt.Errorf("key %q: sha256 is that of a key that anybody guesses, as foo is one: make one with: openssl rand -hex 32", name)
	}
	if c.Anonymous != nil {
		if err := c.Anonymous.Check(); err != nil {
			return nil, nil, fmt.Errorf("anonymous: %w", err)
		}
	}
	return keys, c.Anonymous, nil
}
