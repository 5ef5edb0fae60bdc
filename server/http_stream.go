package server

import (
	"net/http"

	"github.com/millrace/millrace/internal/netconn"
)

// serveStream serves a plain request over HTTP/2. One connection carries many, so its
// answer is watched piece by piece, and its body while somebody waits for it.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	if !countIn(&s.netHTTP.streams, s.limits.httpStreams) {
		s.hit(LimitHTTPStreams)
		_ = s.answerNetHTTP(w, r, refuseStreams) // the client is told
		return
	}
	defer s.netHTTP.streams.Add(-1)
	answer := netconn.NewResponse(w, bridgePiece, s.writeTimeout(), func() { s.hit(LimitWriteTimeout) })
	if s.limits.body > 0 && r.Body != nil && r.Body != http.NoBody {
		pace := netconn.Pace{Bytes: progressBytes, Timeout: s.limits.body}
		r.Body = netconn.NewBody(r.Body, w, pace, func() { s.hit(LimitBodyTimeout) })
	}
	defer answer.End()
	s.HTTP.ServeHTTP(answer, r)
}

var refuseStreams = busy("too many requests at once", "1")
