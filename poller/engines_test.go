package poller_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller"
)

func TestEngines(t *testing.T) {
	want := map[string][]string{
		"linux": {"epoll", "easygo"}, "darwin": {"easygo"}, "freebsd": {"easygo"}, "dragonfly": {"easygo"},
	}[runtime.GOOS]
	if got := poller.Engines(); !slices.Equal(got, want) {
		t.Errorf("Engines() = %v, want %v", got, want)
	}
}

func TestNew(t *testing.T) {
	if len(poller.Engines()) == 0 {
		_, err := poller.New("")
		if !errors.Is(err, poller.ErrNotSupported) || !strings.Contains(err.Error(), runtime.GOOS) {
			t.Errorf("New = %v, want an ErrNotSupported that names %s", err, runtime.GOOS)
		}
		return
	}
	for i, name := range append([]string{""}, poller.Engines()...) {
		e, err := poller.New(name)
		if err != nil {
			t.Fatalf("New(%q): %v", name, err)
		}
		if want := poller.Engines()[max(i-1, 0)]; e.Name() != want {
			t.Errorf("New(%q) is %s, want %s", name, e.Name(), want)
		}
	}
	_, err := poller.New("select")
	for _, part := range append([]string{"select"}, poller.Engines()...) {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New(%q): %v, want an error with %q in it", "select", err, part)
		}
	}
}
