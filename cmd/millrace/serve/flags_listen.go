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
	hosts   []string
}

func (m *mainOptions) options() []option {
	return []option{
		{"listen", "ADDRESS", "HOST:PORT to listen on, no host is all of the machine, port 0 a free one; or unix:PATH, a Unix socket",
			"127.0.0.1:8080", endpoint(&m.listen)},
		{"listen-mode", "MODE", "permissions of the socket's file of --listen unix:PATH, in octal: who may write may connect", "0660", permissions(&m.mode)},
		{"origin", "ORIGINS", "origins of pages that may connect besides the server's own, separated by commas\n" +
			"(repeatable): https://example.com, https://*.example.com, http://localhost:*,\n" +
			"capacitor://localhost, chrome-extension://ID, file://, null; * is every page", "", list(&m.origins, origin)},
		{"host", "HOSTS", "hosts that WebSockets may be for, separated by commas (repeatable): example.com,\n" +
			"*.example.com, 192.0.2.1:8080; others get 421; none is all", "", list(&m.hosts, host)},
	}
}

func (m *mainOptions) check() error {
	if m.mode != 0o660 && !strings.HasPrefix(m.listen, unixPrefix) {
		return errors.New("--listen-mode says nothing without --listen unix:PATH")
	}
	return nil
}

func (m *mainOptions) apply(s *server.Server) error {
	s.Origin.Allow, s.Origin.Hosts, s.Runtime.SocketMode = m.origins, m.hosts, m.mode
	return nil
}
