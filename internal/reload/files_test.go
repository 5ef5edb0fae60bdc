package reload_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/reload"
)

// TestFiles: what was read stays until a file has changed and can be used.
func TestFiles(t *testing.T) {
	name, clock := filepath.Join(t.TempDir(), "file"), time.Now().Add(-time.Hour)
	write := func(text string) {
		clock = clock.Add(time.Second)
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chtimes(name, clock, clock)); err != nil {
			t.Fatal(err)
		}
	}
	reads, wrong := 0, errors.New("wrong")
	load := func() (*string, error) {
		reads++
		text, err := os.ReadFile(name)
		if string(text) == "wrong" {
			err = wrong
		}
		now := string(text)
		return &now, err
	}
	if f, err := reload.Read([]string{name}, load); f != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v, %v", f, err)
	}
	write("one")
	f, err := reload.Read([]string{name}, load)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step, want string, reloaded bool, is error) {
		t.Helper()
		if got, err := f.ReloadIfChanged(); got != reloaded || !errors.Is(err, is) || *f.Current() != want {
			t.Errorf("%s: %v, %v, %s", step, got, err, *f.Current())
		}
	}
	reads = 0
	expect("unchanged", "one", false, nil)
	if reads > 0 {
		t.Error("it was read")
	}
	write("two")
	expect("changed", "two", true, nil)
	write("wrong")
	expect("wrong", "two", false, wrong)
	expect("wrong still", "two", false, wrong)
	write("three")
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	expect("read already", "three", false, nil)
}

// TestWatch tells of each change, and ends.
func TestWatch(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := reload.Read([]string{name}, func() (*string, error) {
		text, err := os.ReadFile(name)
		now := string(text)
		return &now, err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, over := make(chan error, 10), make(chan struct{})
	go func() {
		f.Watch(ctx, time.Millisecond, func(err error) { told <- err })
		close(over)
	}()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, fs.ErrNotExist) || *f.Current() != "one" {
		t.Errorf("%v, %s", err, *f.Current())
	}
	if err := os.Rename(writeTemp(t, "two"), name); err != nil { // whole at once
		t.Fatal(err)
	}
	if err := <-told; err != nil || *f.Current() != "two" {
		t.Errorf("%v, %s", err, *f.Current())
	}
	cancel()
	<-over
}

func writeTemp(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
