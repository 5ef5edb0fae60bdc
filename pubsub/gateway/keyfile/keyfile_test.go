package keyfile_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/pubsub/gateway/keyfile"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hashOf(key string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(key))) }

func TestRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, file, `
keys:
  - name: builds
    sha256: `+hashOf("secret of builds")+`
    publish: [builds/#]
  - name: ann
    sha256: `+strings.ToUpper(hashOf("secret of ann"))+`
    user: ann
    subscribe: ["#"]
    history: []
    presence: [rooms/+]
    purge: [rooms/hall]
anonymous:
  subscribe: [builds/#]
  literal: true
`)
	keys, err := keyfile.Read(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]gateway.Identity{
		"secret of builds": {Name: "builds", Rights: gateway.Rights{Publish: []string{"builds/#"}}},
		"secret of ann":    {Name: "ann", User: "ann", Rights: gateway.Rights{Subscribe: []string{"#"}, History: []string{}, Presence: []string{"rooms/+"}, Purge: []string{"rooms/hall"}}},
	} {
		if got, err := keys.Authenticate(context.Background(), key); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", key, got, err)
		}
	}
	for _, key := range []string{"", "builds", hashOf("secret of ann"), "secret of ann "} {
		if _, err := keys.Authenticate(context.Background(), key); !errors.Is(err, gateway.ErrNotMine) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if all := keys.Anonymous(); !reflect.DeepEqual(all, &gateway.Rights{Subscribe: []string{"builds/#"}, Literal: true}) {
		t.Errorf("%+v", all)
	}
}

// TestWrong: what can not be meant is refused, without the text of the file.
func TestWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	entry := func(name, key, more string) string {
		return "  - {name: " + name + ", sha256: " + hashOf(key) + more + "}\n"
	}
	for text, want := range map[string]string{
		"":                            "nobody could do anything",
		"keys: []":                    "nobody could do anything",
		"keys:\n  - {sha256: \"00\"}": "key 1 has no name",
		"keys:\n  - {name: a, sha256: \"secret\"}":                                "64 hexadecimal digits",
		"keys:\n  - {name: a, key: secret}":                                       "unknown field",
		"keys:\n" + entry("a", "x", ", publis: [a]"):                              "unknown field",
		"keys:\n" + entry("a", "x", "") + entry("a", "y", ""):                     `two keys have the name "a"`,
		"keys:\n" + entry("a", "x", "") + entry("b", "x", ""):                     `another key has the same sha256`,
		"keys:\n" + entry("a", "", ""):                                            "that of nothing",
		"keys:\n" + entry("a", "x", ", publish: [a/#/b]"):                         "# before the last level",
		"anonymous: {subscribe: [a+]}":                                            "anonymous: subscribe: pubsub: not a topic's name",
		"anonymous:":                                                              "write anonymous: {} if nobody",
		"anonymous: ~":                                                            "write anonymous: {} if nobody",
		"anonymous:\n#  subscribe: [a]\nkeys:\n" + entry("a", "x", ""):            "write anonymous: {} if nobody",
		"keys:\n" + entry("a", "x", ", subscribe: [a], history: "):                "write history: [] if it is for nothing",
		"anonymous:\n  subscribe: [a]\n  history:\n":                              "write history: [] if it is for nothing",
		"keys:\n" + entry("a", "what nobody guesses", "") + entry("b", "foo", ""): `key "b": sha256 is that of a key that anybody guesses`,
		"keys:\n" + entry("a", "KEY", ""):                                         "make one with: openssl rand -hex 32",
		"keys:\n" + entry("a", "z", ""):                                           "anybody guesses",
		"keys:\n" + entry("a", "a9", ""):                                          "anybody guesses",
		"keys:\n  - {name: a, sha256: HASH-OF-THE-KEY}":                           "64 hexadecimal digits, as from: printf %s KEY | sha256sum",
		"keys: {a: b":  "",
		"keys: secret": "",
	} {
		write(t, file, text)
		_, err := keyfile.Read(file, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := keyfile.Read(file+"x", nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestReload: a file that changes counts as it is, as long as it can be read.
func TestReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	synctest.Test(t, func(t *testing.T) {
		var told []error
		state := func(names ...string) {
			t.Helper()
			text := "keys:\n"
			for _, name := range names {
				text += "  - {name: " + name + ", sha256: " + hashOf("key of "+name) + "}\n"
			}
			write(t, file, text)
			time.Sleep(2 * time.Second)
		}
		state("a")
		keys, err := keyfile.Read(file, func(err error) { told = append(told, err) })
		if err != nil {
			t.Fatal(err)
		}
		has := func(name string) bool {
			_, err := keys.Authenticate(context.Background(), "key of "+name)
			return err == nil
		}
		state("a", "bb")
		if !has("a") || !has("bb") || len(told) != 1 || told[0] != nil {
			t.Error("the new key is unknown", told)
		}
		state("ccc", "ccc")
		if !has("a") || !has("bb") || len(told) != 2 || told[1] == nil {
			t.Error("a wrong file counts", told)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(2 * time.Second)
			if !has("a") {
				t.Error("a file that is away counts")
			}
		}
		if len(told) != 3 || !errors.Is(told[2], os.ErrNotExist) {
			t.Error(told)
		}
		state("bb")
		if has("a") || !has("bb") || len(told) != 4 || told[3] != nil {
			t.Error("the old key is known", told)
		}
		write(t, file, "keys:\n  - {name: d, sha256: "+hashOf("key of d")+"}\nanonymous: {subscribe: [b]}\n")
		time.Sleep(2 * time.Second)
		if !has("d") || len(told) != 5 || !errors.Is(told[4], keyfile.ErrAnonymous) || keys.Anonymous() != nil {
			t.Error("what everybody may do has changed, which is not told", told)
		}
	})
}

// TestReloadUnnoticed: a change counts though the file's size and time are as they were, and who reads it holds nobody up.
func TestReloadUnnoticed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	text := func(key string) string { return "keys:\n  - {name: a, sha256: " + hashOf(key) + "}\n" }
	synctest.Test(t, func(t *testing.T) {
		write(t, file, text("the first"))
		at := time.Now()
		var keys *keyfile.File
		reading := false
		keys, err := keyfile.Read(file, func(error) {
			reading = true
			if _, err := keys.Authenticate(context.Background(), "the first"); err != nil { // the lock is free
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		write(t, file, text("the second"))
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := keys.Authenticate(context.Background(), "the second"); err != nil || !reading {
			t.Errorf("%v, told %v", err, reading)
		}
		if _, err := keys.Authenticate(context.Background(), "the first"); err == nil {
			t.Error("the old key is known")
		}
	})
}
