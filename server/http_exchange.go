package server

import (
	"cmp"
	"net"
	"net/http"

	"github.com/millrace/millrace/internal/netconn"
	"github.com/millrace/millrace/ws"
)

// exchange is the far side of a bridge to a stream of HTTP/2 (RFC 8441), or to the answer of
// one. The handler
// that was called for it stays until all is over, as the bridge's reader.
type exchange struct{ *netconn.Stream }

var refuseNoStream = &ws.Refusal{
	Status: http.StatusNotImplemented,
	Reason: "a middleware stands between this stream and the WebSocket server: its ResponseWriter has no Unwrap",
}

// takeStream serves a WebSocket, or an event stream, over HTTP/2 and returns when it is over. An error
// says that it has not begun; taken, as takeOver.
func (s *Server) takeStream(w http.ResponseWriter, r *http.Request, req *ws.Request, accept Accept) (taken bool, err error) {
	w = netconn.Innermost(w) // as Hijack does: frames are no content for a middleware to change
	if _, ok := w.(http.Flusher); !ok {
		return false, refuseNoStream
	}
	t := &takenOver{accept: accept, request: req, settled: make(chan *ws.Refusal, 1)}
	header, err := s.headerOf(req, &t.accept)
	if err != nil {
		return false, err
	}
	e := &exchange{netconn.NewStream(w, r.Body, header)}
	if accept.EventStream {
		e.Stream = netconn.NewAnswer(r.Context(), w, header)
	}
	b := newBridge(s, e)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	b.secured, b.local, b.unix = r.TLS, addrPortOf(local), isUnix(local)
	s.placeTaken(arrival{fd: -1, taken: t, bridge: b})
	if <-b.begun; b.conn == nil {
		return true, cmp.Or(b.refusal, refuseStopping) // the place that was reserved is given back
	}
	_ = e.Accept() // the writer will know
	b.run()
	b.wait()
	e.End()
	return true, nil
}

// headerOf is the header of the 200: AppendUpgrade of the loops' connections.
func (s *Server) headerOf(req *ws.Request, accept *Accept) (http.Header, error) {
	if accept.EventStream {
		return ws.EventStreamHeader(&ws.Response{Subprotocol: accept.Subprotocol, Header: accept.Header})
	}
	resp := s.responseTo(req, accept)
	header, err := ws.ConnectHeader(req, &resp)
	if err != nil {
		s.freeWindows(accept.deflate)
	}
	return header, err
}
