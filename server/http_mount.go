package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// ServeHTTP takes a connection over from net/http, so that a Server can be
// mounted in any router: it does all that happens to an upgrade on the server's
// own port (the checks, host and origin, the Upgrade hook) and answers a refusal
// through w. The loops are started if need be. A middleware's ResponseWriter must
// have Unwrap or be a Hijacker; one that is neither, as http.TimeoutHandler's,
// gets 501. What net/http has let pass in a head before is not to be seen any more.
// The hook sees the router's context and path values. A middleware that logs the
// status sees 200: the 101 does not go through its ResponseWriter.
//
// The end of a mounted server is Drain, Shutdown or Close, besides that of the
// http.Server, which knows nothing of connections that were taken over.
//
// A connection with no descriptor that a loop could watch (a *tls.Conn, or another
// net.Conn that wraps one) is served by goroutines of its own that stand between
// it and its loop: Handler, limits, deadlines and statistics are the same. It
// costs a goroutine and 4 KB of memory while it is idle, and with TLS 16 KB (40 KB
// once it has brought long messages: crypto/tls keeps its buffers); a second
// goroutine while something is sent. While it is busy it has at most 64 KiB of bytes
// that are not written yet, in two buffers of up to 64 KiB, and one of 16 KiB for what
// is read. With Runtime.LoopsOnly it gets 501.
//
// A WebSocket over HTTP/2 (RFC 8441) is served in the same way, by the goroutine
// that calls ServeHTTP, which returns when it is over, and takes 18 KB. net/http
// has to be told to accept the extended CONNECT that opens it: see package
// xconnect.
//
// An event stream (Server.EventStreams) is taken over like that as well, over HTTP/2 as an
// answer that does not end.
//
// What the hook leaves to Server.HTTP (ErrUseHTTP) is served by that at once.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serveUpgrade(w, r, s.serveHTTP)
}

// serveHTTP is Server.HTTP's.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) { s.HTTP.ServeHTTP(w, r) }

// serveUpgrade is ServeHTTP, which has page serve what the hook leaves to HTTP. Once:
// what HTTP serves may be the server itself.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request, page http.HandlerFunc) {
	err := s.upgradeNetHTTP(w, r, s.EventStreams, s.decide)
	switch {
	case !errors.Is(err, ErrUseHTTP):
	case s.HTTP == nil:
		err = refuseNoHTTP
	case r.Context().Value(leftToHTTP{}) == s:
		err = refuseCircle
	default:
		page(w, r.WithContext(context.WithValue(r.Context(), leftToHTTP{}, s)))
		return
	}
	_ = s.answerNetHTTP(w, r, err) // the client is told, and the log
}

// leftToHTTP is the context key of requests that an Upgrade hook has left to HTTP; the
// value is whose hook.
type leftToHTTP struct{}

var (
	refuseNoHTTP = &ws.Refusal{Status: http.StatusNotFound, Reason: "no WebSocket at this path, and no HTTP behind it"}
	refuseCircle = &ws.Refusal{
		Status: http.StatusNotFound,
		Reason: "the Upgrade hook has left this to HTTP, which has given it back to the server",
	}
)

// Accept is ServeHTTP for a router that has decided already: accept takes the place of
// the Upgrade hook. Host and origin are checked. With Accept.EventStream the request must be for an event
// stream, whatever Server.EventStreams says.
//
// It returns nil when the connection is the server's: the handler's Open is called, and
// its Close at the end. Over HTTP/2 that end has come then. Otherwise the client has its
// answer, as far as it can be told, there is nothing more to be written to w, and the
// error says why: it is a *ws.Refusal, or wraps one together with its cause (use
// errors.As).
func (s *Server) Accept(w http.ResponseWriter, r *http.Request, accept Accept) error {
	given, opened := accept, false
	accept.Abandoned = nil // it is called here, also where nothing is decided
	defer func() {
		if !opened {
			given.abandon()
		}
	}()
	err := s.upgradeNetHTTP(w, r, accept.EventStream, func(req *ws.Request) (Accept, error) {
		if err := s.admit(req); err != nil {
			return accept, err
		}
		return s.withDefaults(req, accept)
	})
	opened = err == nil
	return s.answerNetHTTP(w, r, err)
}

// upgradeNetHTTP does what Conn.upgrade does, for a request that net/http has; events: it may be
// for an event stream.
func (s *Server) upgradeNetHTTP(w http.ResponseWriter, r *http.Request, events bool, decide func(*ws.Request) (Accept, error)) error {
	if err := s.startTaking(); err != nil {
		return err
	}
	req, err := headOf(r)
	if err := s.checkHead(r, req, events, err); err != nil {
		return err
	}
	if err := s.reserve(); err != nil {
		return err
	}
	taken := false // it has the place that was reserved
	defer func() {
		if !taken { // refused, or the hook panicked
			s.giveBack()
		}
	}()
	hook := &httpHook{srv: s, r: r}
	defer func() { _ = hook.end(nil) }() // the hook may have panicked
	req.Ctx = hook
	accept, err := decide(req)
	err = hook.end(err)
	if err != nil {
		return err
	}
	if r.ProtoMajor > 1 {
		taken, err = s.takeStream(w, r, req, accept)
	} else {
		taken, err = s.takeOver(w, req, accept)
	}
	if err != nil {
		accept.abandon()
	}
	return err
}

// checkHead judges a request that headOf has given, and what was wrong with it.
func (s *Server) checkHead(r *http.Request, req *ws.Request, events bool, wrong error) error {
	events = events && wrong == nil && req.EventStream()
	switch {
	case r.ProtoMajor > 1 && !extendedConnect(r) && !events:
		return refuseNoConnect
	case wrong != nil:
		return wrong
	case !req.WantsUpgrade() && !events:
		return s.refusePlain(req)
	case s.Runtime.LoopsOnly && (r.TLS != nil || r.ProtoMajor > 1):
		return refuseTakeOver
	}
	if err := checkOpening(req); err != nil {
		return err
	}
	return s.trustNetHTTP(r, req)
}

// answerNetHTTP answers an error, and returns it with the refusal that it was answered with;
// after a successful take-over it is nil and w is no longer ours. As on the server's own
// port the connection ends with a refusal: what follows it may be frames.
func (s *Server) answerNetHTTP(w http.ResponseWriter, r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	if told := new(answered); errors.As(err, told) {
		return told.Refusal
	}
	req, _ := headOf(r)        // if it fails that is err
	_ = s.trustNetHTTP(r, req) // so here
	refusal := s.refusalOf(err, req.RemoteAddr)
	status := refusal.Status
	if status < 200 || status > 599 { // as ws.AppendRefusal
		status = http.StatusInternalServerError
	}
	s.refused(refusal, req.RemoteAddr, req)
	h := w.Header()
	maps.Copy(h, refusal.Header)
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	if status == http.StatusUpgradeRequired {
		if r.ProtoMajor == 1 { // HTTP/2 has neither field (RFC 9113 section 8.2.2)
			h.Add("Connection", "Upgrade")
			h.Set("Upgrade", "websocket")
		}
		h.Set("Sec-WebSocket-Version", "13")
	}
	http.Error(typed{w, refusal.Header.Get("Content-Type")}, cmp.Or(refusal.Body, refusal.Reason, http.StatusText(status)), status)
	if refusal == refuseInternal {
		return fmt.Errorf("%w: %w", refusal, err)
	}
	return err
}

// typed has an answer of http.Error be of a type of its own; "" is http.Error's.
type typed struct {
	http.ResponseWriter
	contentType string
}

// WriteHeader implements http.ResponseWriter.
func (t typed) WriteHeader(status int) {
	if t.contentType != "" {
		t.Header().Set("Content-Type", t.contentType)
	}
	t.ResponseWriter.WriteHeader(status)
}

// headOf is r as package ws sees requests, vetted by the same rules as on the
// server's own port: what net/http has accepted may be refused all the same. Of what
// is refused there is only where it came from.
func headOf(r *http.Request) (*ws.Request, error) {
	method, minor := r.Method, r.ProtoMinor
	connect := extendedConnect(r)
	if connect {
		method = http.MethodGet // as ws.Request.ExtendedConnect has it
	}
	if r.ProtoMajor > 1 {
		minor = 1
	}
	head := fmt.Appendf(nil, "%s %s HTTP/1.%d\r\nHost: %s\r\n", method, targetOf(r), minor, r.Host)
	for name, values := range r.Header {
		if strings.HasPrefix(name, ":") {
			continue
		}
		for _, value := range values {
			head = fmt.Appendf(head, "%s: %s\r\n", name, value)
		}
	}
	for _, coding := range r.TransferEncoding { // net/http takes it out of the header
		head = fmt.Appendf(head, "Transfer-Encoding: %s\r\n", coding)
	}
	head = append(head, "\r\n"...)
	req := &ws.Request{}
	err := req.Parse(head)
	req.ExtendedConnect = connect && err == nil
	req.Ctx = r
	for _, name := range wildcards(r.Pattern) {
		req.SetPathValue(name, r.PathValue(name))
	}
	req.RemoteAddr = remoteAddr(r.RemoteAddr)
	req.TLSState = r.TLS
	req.TLS = r.TLS != nil || r.Context().Value(securedKey{}) != nil
	return req, err
}

// wildcards are the names of those in a pattern of net/http's: "GET /rooms/{room}/{rest...}".
func wildcards(pattern string) (names []string) {
	for {
		_, behind, some := strings.Cut(pattern, "{")
		name, rest, ended := strings.Cut(behind, "}")
		if !some || !ended {
			return names
		}
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			names = append(names, name)
		}
		pattern = rest
	}
}

// targetOf is the target that r came with, as far as r.URL still is what was read
// from it: routers cut prefixes off. net/url would escape what the client has not.
func targetOf(r *http.Request) string {
	u := r.URL
	if r.Method == http.MethodConnect && r.ProtoMajor == 1 {
		return r.RequestURI
	}
	path := u.EscapedPath()
	if plain, err := url.PathUnescape(u.RawPath); err == nil && plain == u.Path && u.RawPath != "" {
		path = u.RawPath
	}
	path = cmp.Or(u.Opaque, path, "/")
	if u.ForceQuery || u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path
}

// asksForUpgrade says of a request that headOf refuses whether it is one for a
// WebSocket.
func asksForUpgrade(r *http.Request) bool {
	for _, list := range r.Header["Upgrade"] {
		for element := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), "websocket") {
				return r.ProtoAtLeast(1, 1)
			}
		}
	}
	return extendedConnect(r)
}

// asksForEvents says whether r may be for an event stream.
func asksForEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && slices.ContainsFunc(r.Header["Accept"], func(list string) bool {
		return strings.Contains(strings.ToLower(list), sse.ContentType)
	})
}

// remoteAddr parses what net/http, or a middleware that knows better and then
// often without a port, says who the client is; the zero value on a Unix socket.
func remoteAddr(text string) netip.AddrPort {
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.WithZone(""), 0)
}

// extendedConnect says whether r opens a WebSocket over HTTP/2. net/http keeps the
// pseudo-header field :protocol, which no other field's name can be taken for,
// among the others.
func extendedConnect(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodConnect && strings.EqualFold(r.Header.Get(":protocol"), "websocket")
}

var (
	refuseTakeOver = &ws.Refusal{
		Status: http.StatusNotImplemented,
		Reason: "no event loop can watch this connection: it is TLS, wrapped, or HTTP/2",
	}
	refuseNoConnect = &ws.Refusal{
		Status: http.StatusMethodNotAllowed,
		Reason: "a WebSocket over HTTP/2 is opened with an extended CONNECT (RFC 8441)",
		Header: http.Header{"Allow": {http.MethodConnect}},
	}
	refuseNoHijack = &ws.Refusal{
		Status: http.StatusNotImplemented,
		Reason: "a middleware stands between this connection and the WebSocket server: its ResponseWriter has no Unwrap",
	}
	refuseStopping = &ws.Refusal{
		Status: http.StatusServiceUnavailable,
		Reason: "the WebSocket server is shutting down",
		Header: http.Header{"Retry-After": {"1"}},
	}
)

// startTaking starts the loops if need be; a server that stops takes nothing
// over.
func (s *Server) startTaking() error {
	err := s.start()
	if errors.Is(err, ErrServerClosed) || err == nil && s.stopping.Load() {
		return refuseStopping
	}
	return err
}
