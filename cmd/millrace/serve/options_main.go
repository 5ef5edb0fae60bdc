package serve

import (
	"log/slog"

	"github.com/millrace/millrace/server"
)

// mainOptions are where the server listens, for whom, and what it logs.
type mainOptions struct {
	listen   string
	origins  []string
	logLevel slog.Level
}

func (m *mainOptions) options() []option {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	return []option{
		{"listen", "HOST:PORT", "TCP address to listen on; no host is all of the machine, port 0 a free one", "127.0.0.1:8080", address(&m.listen)},
		{"origin", "ORIGINS", "origins of pages that may connect besides the server's own, separated by commas\n" +
			"(repeatable), as https://example.com; * is every page", "", list(&m.origins, origin)},
		{"log-level", "LEVEL", "least level that is logged: debug, info, warn or error", "info", choice(&m.logLevel, levels, "debug", "info", "warn", "error")},
	}
}

func (m *mainOptions) apply(s *server.Server) error {
	s.Origins = m.origins
	return nil
}
