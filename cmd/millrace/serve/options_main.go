package serve

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/millrace/millrace/server"
)

// mainOptions are where the server listens, and for whom.
type mainOptions struct {
	listen  string
	mode    fs.FileMode
	origins []string
}

func (m *mainOptions) options() []option {
	return []option{
		{"listen", "ADDRESS", "HOST:PORT to listen on, no host is all of the machine, port 0 a free one; or unix:PATH, a Unix socket",
			"127.0.0.1:8080", endpoint(&m.listen)},
		{"listen-mode", "MODE", "permissions of the socket's file of --listen unix:PATH, in octal: who may write may connect", "0660", permissions(&m.mode)},
		{"origin", "ORIGINS", "origins of pages that may connect besides the server's own, separated by commas\n" +
			"(repeatable), as https://example.com; * is every page", "", list(&m.origins, origin)},
	}
}

func (m *mainOptions) check() error {
	if m.mode != 0o660 && !strings.HasPrefix(m.listen, unixPrefix) {
		return errors.New("--listen-mode says nothing without --listen unix:PATH")
	}
	return nil
}

func (m *mainOptions) apply(s *server.Server) error {
	s.Origins, s.SocketMode = m.origins, m.mode
	return nil
}
