// Package socketpath gives tests of several packages paths for Unix sockets.
package socketpath

import (
	"os"
	"path/filepath"
	"testing"
)

// New is a path at which there is nothing, in a folder of its own, which is removed when
// the test is over. It is short: a Unix socket's address holds 103 bytes, which the
// folder of testing.TB.TempDir may exceed.
func New(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // in the system's temporary folder anyway
	return filepath.Join(dir, "s")
}
