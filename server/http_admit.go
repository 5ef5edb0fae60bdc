package server

import (
	"errors"
	"net/http"

	"github.com/millrace/millrace/ws"
)

// Admit checks a plain request as an upgrade is checked before the Upgrade hook is asked: Origin.Hosts and the
// origin. It gives the request as the hook would see it, with what trusted proxies tell, which may be kept. The error
// is a *ws.Refusal: 421, 403, or what is wrong with the request. It is for handlers of HTTP that act for whoever asks.
func (s *Server) Admit(r *http.Request) (*ws.Request, error) {
	if err := s.start(); err != nil && !errors.Is(err, ErrServerClosed) {
		return nil, s.refusalOf(err, remoteAddr(r.RemoteAddr))
	}
	req, err := headOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.trustNetHTTP(r, req); err != nil {
		return nil, err
	}
	return req, s.admit(req)
}
