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

// parseAdmittance is for fields that Validate has passed.
func (s *Server) parseAdmittance() (a admittance) {
	for _, text := range s.Origin.Hosts {
		p, _ := ws.ParseHostPattern(text)
		a.hosts = append(a.hosts, p)
	}
	for _, text := range s.Origin.Allow {
		p, _ := ws.ParseOriginPattern(text)
		a.origins = append(a.origins, p)
	}
	return a
}

var (
	refuseHost   = &ws.Refusal{Status: http.StatusMisdirectedRequest, Reason: "not a host of this server"}
	refuseOrigin = &ws.Refusal{Status: http.StatusForbidden, Reason: "origin not allowed"}
	refuseNoCORS = &ws.Refusal{Status: http.StatusForbidden, Reason: "a page of another origin asks for what it may not read"}
)

// admit refuses an upgrade for another host, or from a page that may not connect.
func (s *Server) admit(r *ws.Request) error {
	switch {
	case len(s.Origin.Hosts) > 0 && !r.HostIn(s.admits.hosts):
		return refuseHost
	case !s.originAllowed(r):
		return refuseOrigin
	case s.Origin.Check == nil && !r.WantsUpgrade() && fromElsewhere(r):
		return refuseNoCORS
	}
	return nil
}

// fromElsewhere says of a plain GET whether a browser says that a page of another origin sends it
// without an Origin, as with fetch's mode no-cors: the page could read no answer, but
// be a member of groups in its visitor's name.
func fromElsewhere(r *ws.Request) bool {
	site := r.Header("Sec-Fetch-Site")
	return r.Header("Origin") == "" && (site == "cross-site" || site == "same-site")
}

func (s *Server) originAllowed(r *ws.Request) bool {
	if s.Origin.Check != nil {
		return s.Origin.Check(r)
	}
	return r.SameOrigin() || r.OriginIn(s.admits.origins)
}

// remedyFor says which setting would let r through, if there is one. r may be nil where
// there was no request.
func (s *Server) remedyFor(refusal *ws.Refusal, r *ws.Request) string {
	switch {
	case refusal == refuseTLS:
		return "--tls-cert (Server.ServeTLS), or no TLS to this port"
	case refusal == refuseProxy:
		return "--proxy-protocol required (Server.Proxy.Protocol)"
	case refusal == refuseHost:
		return "--host (Server.Origin.Hosts)"
	case refusal != refuseOrigin || s.Origin.Check != nil:
		return ""
	}
	if p, err := ws.ParseOriginPattern(r.Header("Origin")); err != nil || !r.OriginIn([]ws.OriginPattern{p}) {
		return "--origin * (Server.Origin.Allow)" // nothing else names this one
	}
	return "--origin (Server.Origin.Allow)"
}
