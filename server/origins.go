package server

import (
	"net/http"

	"github.com/millrace/millrace/ws"
)

// admittance is which upgrades are let through to the hook: what Hosts and Origins
// say, parsed.
type admittance struct {
	hosts   []ws.HostPattern
	origins []ws.OriginPattern
}

func (s *Server) parseAdmittance() (a admittance, err error) {
	if a.hosts, err = parseAll(s.Hosts, ws.ParseHostPattern); err != nil {
		return admittance{}, err
	}
	a.origins, err = parseAll(s.Origins, ws.ParseOriginPattern)
	return a, err
}

func parseAll[T any](texts []string, parse func(string) (T, error)) (all []T, err error) {
	for _, text := range texts {
		one, err := parse(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

var (
	refuseHost   = &ws.Refusal{Status: http.StatusMisdirectedRequest, Reason: "not a host of this server"}
	refuseOrigin = &ws.Refusal{Status: http.StatusForbidden, Reason: "origin not allowed"}
)

// admit refuses an upgrade for another host, or from a page that may not connect.
func (s *Server) admit(r *ws.Request) error {
	switch {
	case len(s.Hosts) > 0 && !r.HostIn(s.admits.hosts):
		return refuseHost
	case !s.originAllowed(r):
		return refuseOrigin
	}
	return nil
}

func (s *Server) originAllowed(r *ws.Request) bool {
	if s.CheckOrigin != nil {
		return s.CheckOrigin(r)
	}
	return r.SameOrigin() || r.OriginIn(s.admits.origins)
}

// remedyFor says which setting would let r through, if there is one.
func (s *Server) remedyFor(refusal *ws.Refusal, r *ws.Request) string {
	switch {
	case refusal == refuseHost:
		return "--host (Server.Hosts)"
	case refusal != refuseOrigin || s.CheckOrigin != nil:
		return ""
	}
	if p, err := ws.ParseOriginPattern(r.Header("Origin")); err != nil || !r.OriginIn([]ws.OriginPattern{p}) {
		return "--origin * (Server.Origins)" // nothing else names this one
	}
	return "--origin (Server.Origins)"
}
