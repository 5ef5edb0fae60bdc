package socketpath_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
)

// TestNew: one can listen there, no two are the same, and nothing is left of them.
func TestNew(t *testing.T) {
	var paths []string
	t.Run("a test whose name alone would be too long for the address of a Unix socket, which holds a hundred bytes", func(t *testing.T) {
		paths = []string{socketpath.New(t), socketpath.New(t)}
		for _, path := range paths {
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
		}
	})
	for _, path := range paths {
		if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of %s there is left: %v", path, err)
		}
	}
}
