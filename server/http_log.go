package server

import (
	"log"
	"strings"
)

// httpLog takes the lines of net/http's ErrorLog, which has one level for all. What
// the application has done is told as it comes. All else any peer can cause, and with
// its own text in it, so that is told like the rest about single peers.
type httpLog struct{ srv *Server }

// errorLog is the ErrorLog of the net/http server behind the port.
func (s *Server) errorLog() *log.Logger { return log.New(httpLog{s}, "", 0) }

// panicLines and ownLines begin the lines that are about the application, or the
// machine.
var (
	panicLines = []string{"http: panic serving ", "http2: panic serving "}
	ownLines   = []string{
		"http: superfluous response.WriteHeader", "http: response.", "http: invalid Content-Length of ",
		"http: WriteHeader called with both ", "http: Accept error: ", "ignoring invalid trailer ",
	}
)

// Write implements io.Writer. log.Logger writes one line at once.
func (l httpLog) Write(line []byte) (n int, err error) {
	s, text := l.srv, strings.TrimSuffix(string(line), "\n")
	switch {
	case beginsWith(text, panicLines):
		s.log().Error("HTTP handler panicked", "err", text)
	case beginsWith(text, ownLines):
		s.log().Warn("plain HTTP troubled", "err", text)
	default:
		s.logNetHTTP(text)
	}
	return len(line), nil
}

func beginsWith(text string, starts []string) bool {
	for _, start := range starts {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}
