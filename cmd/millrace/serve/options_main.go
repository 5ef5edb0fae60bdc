package serve

import "github.com/millrace/millrace/server"

// mainOptions are where the server listens, and for whom.
type mainOptions struct {
	listen  string
	origins []string
}

func (m *mainOptions) options() []option {
	return []option{
		{"listen", "HOST:PORT", "TCP address to listen on; no host is all of the machine, port 0 a free one", "127.0.0.1:8080", address(&m.listen)},
		{"origin", "ORIGINS", "origins of pages that may connect besides the server's own, separated by commas\n" +
			"(repeatable), as https://example.com; * is every page", "", list(&m.origins, origin)},
	}
}

func (m *mainOptions) apply(s *server.Server) error {
	s.Origins = m.origins
	return nil
}
