package server_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// TestHTTPLogPeers: what a peer makes net/http say is a debug line like others about
// single peers: few a second, cut and quoted.
func TestHTTPLogPeers(t *testing.T) {
	t.Parallel()
	const peers = 250
	for level, told := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			book := &logBook{}
			addr, srv := startTLS(t, func(s *server.Server) {
				plainHTTP(s)
				s.Logger = book.loggerAt(level)
			})
			config := clientTLS()
			config.NextProtos = []string{"h2"}
			began := time.Now()
			for range peers {
				c, _ := secured(t, connect(t, addr), config)
				c.send("PRI\n\"level=ERROR\x1b[31m behind")
				for _, err := c.r.ReadByte(); err == nil; _, err = c.r.ReadByte() { // SETTINGS, and the end
				}
				_ = c.Close() // it is over
			}
			if !told {
				if text := book.String(); text != "" {
					t.Errorf("%.300q", text)
				}
				return
			}
			most := 100 * (int(time.Since(began)/time.Second) + 2)
			eventually(t, "all to be told or left out", func() bool {
				return uint64(book.count("plain HTTP failed"))+srv.Stats().LogDropped >= peers
			})
			if got := book.count("plain HTTP failed"); got > most || got < min(peers, 100) {
				t.Errorf("%d told in %v", got, time.Since(began))
			}
			for line := range strings.Lines(book.String()) {
				if !strings.Contains(line, "level=DEBUG") || !strings.Contains(line, "bogus greeting") {
					t.Fatalf("%q", line)
				}
			}
		})
	}
}

// TestHTTPLogOwn: what the application has done wrong is told at its own level.
func TestHTTPLogOwn(t *testing.T) {
	t.Parallel()
	book := &logBook{}
	addr, _ := startServer(t, func(s *server.Server) {
		s.Logger = book.logger()
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("oh")
			}
			w.WriteHeader(200)
			w.WriteHeader(200)
		})
	})
	c := dial(t, addr)
	c.send(get("/twice"))
	_, _ = c.response()
	if line := lastLine(t, book, "plain HTTP troubled", 1); !strings.Contains(line, "level=WARN") || !strings.Contains(line, "superfluous") {
		t.Errorf("%q", line)
	}
	c.send(get("/panic"))
	c.expectEOF()
	if line := lastLine(t, book, "HTTP handler panicked", 1); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "http_log_test.go") {
		t.Errorf("%q", line)
	}
}
