// Package keyfile lets a gateway know its clients by keys. A file in YAML has their hashes, and what each
// may:
//
//	keys:
//	  - name: builds
//	    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
//	    publish: [builds/#]
//	anonymous:
//	  subscribe: [builds/#]
//
// A key is a secret that nobody can guess, as from openssl rand -hex 32; sha256 is its hash in hexadecimal digits. A
// client brings the key itself as its token.
package keyfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
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

	mu     sync.Mutex // over the reading of the file too
	keys   map[hash]gateway.Identity
	looked time.Time
	seen   stamp
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// period is how often the file is looked at, at most.
const period = time.Second

// Read reads a file. onReload, if not nil, is called when it was read again, with an error if it
// can not be used: then the keys are still the old ones.
func Read(name string, onReload func(error)) (*File, error) {
	f := &File{name: name, onReload: onReload, looked: time.Now()}
	var err error
	if f.seen, err = stampOf(name); err != nil {
		return nil, err
	}
	f.keys, f.anonymous, err = read(name)
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

// now are the keys as the file has them.
func (f *File) now() map[hash]gateway.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) < period {
		return f.keys
	}
	f.looked = time.Now()
	seen, err := stampOf(f.name)
	if err == nil && seen == f.seen {
		return f.keys
	}
	if seen == f.seen {
		return f.keys // it is away, as before
	}
	f.seen = seen
	if err == nil {
		var keys map[hash]gateway.Identity
		if keys, _, err = read(f.name); err == nil {
			f.keys = keys
		}
	}
	if f.onReload != nil {
		f.onReload(err)
	}
	return f.keys
}

func stampOf(name string) (stamp, error) {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// read reads and checks a file.
func read(name string) (map[hash]gateway.Identity, *gateway.Rights, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(text) > maxFile:
		return nil, nil, fmt.Errorf("%s: longer than %d bytes", name, maxFile)
	}
	keys, anonymous, err := parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, anonymous, nil
}

func parse(text []byte) (map[hash]gateway.Identity, *gateway.Rights, error) {
	var c contents
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.DisallowUnknownField()); err != nil {
		return nil, nil, errors.New(yaml.FormatError(err, false, false)) // without what stands there
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
		keys[h], names[k.Name] = gateway.Identity{User: k.User, Rights: k.Rights}, true
	}
	if c.Anonymous != nil {
		if err := c.Anonymous.Check(); err != nil {
			return nil, nil, fmt.Errorf("anonymous: %w", err)
		}
	}
	return keys, c.Anonymous, nil
}
