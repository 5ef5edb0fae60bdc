package ws

import (
	"bytes"
	"context"
	"crypto/tls"
	"iter"
	"math"
	"net/http"
	"net/netip"
	"net/url"
)

// Request is one vetted HTTP/1 request head.
//
// It points into the bytes it was parsed from and is valid as long as these
// are; Clone makes one to keep. The methods that give strings give copies, those
// that give byte slices do not. It is for one goroutine at a time.
//
// Parse may be called again and again on one Request, whose memory it reuses.
type Request struct {
	// RemoteAddr is the peer, or who a trusted proxy says it is. The server
	// sets it; Parse leaves it alone.
	RemoteAddr netip.AddrPort
	// TLS: the connection, or that of the trusted proxy's client, is
	// encrypted. The server sets it for SameOrigin; Parse leaves it alone.
	TLS bool
	// ExtendedConnect: the request came over HTTP/2 as an extended CONNECT for the
	// protocol websocket (RFC 8441), and the head that Parse took is a rendering of
	// it with GET in place of CONNECT. The server sets it; Parse leaves it alone.
	ExtendedConnect bool
	// TLSState is what the connection's own TLS handshake agreed on (server name,
	// client certificates, version); nil if it is plain. As TLS.
	TLSState *tls.ConnectionState
	// Ctx gives Context its context; nil is context.Background. As TLS.
	Ctx interface{ Context() context.Context }

	head    []byte // all of it, for Clone
	method  []byte
	target  []byte
	path    []byte // the part of target before '?', without scheme and authority
	query   []byte // the part behind '?'
	host    []byte // of the target, else of the Host field
	http10  bool
	hasBody bool
	upgrade bool // the Upgrade field names websocket, see WantsUpgrade
	fields  []field

	public     []byte // the host that trusted proxies tell; nil: they do not
	publicPort uint16 // by X-Forwarded-Port; 0: not known

	pathValues []pathValue
}

type pathValue struct{ name, value string }

// Parse takes head, one whole request head with its final empty line, as
// HeadScanner.Scan delimits it. It accepts every valid HTTP/1.0 or 1.1 request,
// with a body or without, and checks it strictly (RFC 9110, 9112): what could
// be read in two ways is refused. The error is a [*Refusal], 400 or 505, after
// which the Request is empty.
func (r *Request) Parse(head []byte) error {
	var s HeadScanner
	end, err := s.Scan(head, HeadLimits{Bytes: len(head) + 1, Lines: math.MaxInt32})
	switch {
	case err != nil:
		r.clearHead()
		return err
	case end != len(head) || end == 0:
		r.clearHead()
		return refuseHeadEnd
	}
	return r.ParseScanned(head, &s)
}

// ParseScanned is Parse for a head whose end s has just found, and whose syntax
// is so vetted already.
func (r *Request) ParseScanned(head []byte, s *HeadScanner) error {
	r.clearHead()
	if refusal := r.parse(head, int(s.start)); refusal != nil {
		r.clearHead()
		return refusal
	}
	return nil
}

func (r *Request) parse(head []byte, start int) *Refusal {
	// The syntax of the lines is known to be right.
	r.head = head
	line, rest := cutLine(head[start:])
	if refusal := r.parseRequestLine(line); refusal != nil {
		return refusal
	}
	for line, rest = cutLine(rest); len(line) > 0; line, rest = cutLine(rest) {
		colon := bytes.IndexByte(line, ':')
		r.fields = append(r.fields, field{name: line[:colon], value: trimSpace(line[colon+1:])})
	}
	if refusal := r.parseHost(); refusal != nil {
		return refusal
	}
	r.upgrade = !r.http10 && r.hasElement("Upgrade", "websocket") // asked for several times
	return r.parseBody()
}

// cutLine takes the first line off p, without its CRLF.
func cutLine(p []byte) (line, rest []byte) {
	lf := bytes.IndexByte(p, '\n')
	return p[:lf-1], p[lf+1:]
}

func (r *Request) parseRequestLine(line []byte) *Refusal {
	space := bytes.IndexByte(line, ' ')
	version := line[len(line)-len(versionForm):]
	r.method, r.target = line[:space], line[space+1:len(line)-len(versionForm)-1]
	if major := version[len("HTTP/")]; major != '1' {
		return refuseVersion
	}
	r.http10 = version[len("HTTP/1.")] == '0' // higher minors are answered as 1.1, RFC 9110 section 2.5
	return r.parseTarget()
}

// parseHost checks the Host field (RFC 9112 section 3.2). The authority of an
// absolute target goes before it, but it must be there and right all the same. It
// is empty if who asks knows no name.
func (r *Request) parseHost() *Refusal {
	host, lines := r.first("Host")
	if lines == 0 && r.http10 {
		return nil
	}
	if _, _, ok := splitAuthority(host); lines != 1 || !ok && len(host) > 0 {
		return refuseHost
	}
	if r.host == nil {
		r.host = host
	}
	return nil
}

// parseBody checks what says how the body is framed (RFC 9112 section 6.1 and
// 6.3): anything that two readers might frame in two ways is refused.
func (r *Request) parseBody() *Refusal {
	length, lines := r.first("Content-Length")
	n, ok := parseDecimal(length, math.MaxInt64)
	if lines > 1 || lines == 1 && !ok {
		return refuseLength
	}
	_, codings := r.first("Transfer-Encoding")
	if codings > 0 && (lines > 0 || r.http10 || !r.chunked()) {
		return refuseTransfer
	}
	r.hasBody = n > 0 || codings > 0
	return nil
}

// chunked reports whether the last transfer coding, and only it, is chunked.
func (r *Request) chunked() bool {
	count, last := 0, false
	for list := range r.each("Transfer-Encoding") {
		for len(list) > 0 {
			var coding []byte
			if coding, list = cutElement(list); len(coding) == 0 {
				continue
			}
			if last = equalFold(coding, "chunked"); last {
				count++
			}
		}
	}
	return last && count == 1
}

func (r *Request) clearHead() {
	clear(r.fields)
	clear(r.pathValues)
	*r = Request{
		RemoteAddr:      r.RemoteAddr,
		TLS:             r.TLS,
		TLSState:        r.TLSState,
		ExtendedConnect: r.ExtendedConnect,
		Ctx:             r.Ctx,
		fields:          r.fields[:0],
		pathValues:      r.pathValues[:0],
	}
}

// Reset empties r and keeps its memory for the next Parse.
func (r *Request) Reset() {
	r.clearHead()
	r.RemoteAddr, r.TLS, r.TLSState, r.ExtendedConnect, r.Ctx = netip.AddrPort{}, false, nil, false, nil
}

// Context is for what is done on behalf of the request in a server's Upgrade hook. It
// ends with the hook, and before that when nobody waits for it any more: the peer is
// gone, the time for the handshake is over, or the server stops (context.Cause tells).
func (r *Request) Context() context.Context {
	if r.Ctx == nil {
		return context.Background()
	}
	return r.Ctx.Context()
}

// Clone returns a Request with its own copy of all bytes, which may be kept. Its
// Context is context.Background.
func (r *Request) Clone() *Request {
	c := &Request{RemoteAddr: r.RemoteAddr, TLS: r.TLS, TLSState: r.TLSState, ExtendedConnect: r.ExtendedConnect}
	if r.head != nil {
		_ = c.Parse(bytes.Clone(r.head)) // was accepted once
	}
	c.public, c.publicPort = bytes.Clone(r.public), r.publicPort
	c.pathValues = append(c.pathValues, r.pathValues...)
	return c
}

// Method is the method as sent; its letter case matters (RFC 9110 section 9.1).
func (r *Request) Method() string {
	if r.ExtendedConnect {
		return http.MethodConnect
	}
	return string(r.method)
}

// Target is the request target as sent.
func (r *Request) Target() string { return string(r.target) }

// Path is the target's path as sent, not unescaped, and so may hold any byte but
// controls and space; it begins with a slash, except for "*" and the empty path of a
// CONNECT.
func (r *Request) Path() string { return string(r.path) }

// PathBytes is Path without the copy.
func (r *Request) PathBytes() []byte { return r.path }

// RawQuery is what stands behind the target's '?', not unescaped.
func (r *Request) RawQuery() string { return string(r.query) }

// Query parses RawQuery, leaving malformed pairs out.
func (r *Request) Query() url.Values {
	values, _ := url.ParseQuery(string(r.query))
	return values
}

// Host is the host with its port, if any, that the request is for: that of an
// absolute target, else the Host field (RFC 9112 section 3.2.2). A request that
// CheckUpgrade has passed has one; a plain one may have none. See also PublicHost.
func (r *Request) Host() string { return string(r.host) }

// Header returns the first value of the field of this name, in any letter case,
// or "".
func (r *Request) Header(name string) string {
	value, _ := r.first(name)
	return string(value)
}

// Values returns the values of all fields of this name, in order; nil if there
// is none.
func (r *Request) Values(name string) (values []string) {
	for value := range r.each(name) {
		values = append(values, string(value))
	}
	return values
}

// Headers ranges over all fields, as sent and in order.
func (r *Request) Headers() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, f := range r.fields {
			if !yield(string(f.name), string(f.value)) {
				return
			}
		}
	}
}

// Cookie returns the value of the first cookie of this name, without the double
// quotes that may stand around it (RFC 6265 section 4.1.1).
func (r *Request) Cookie(name string) (value string, ok bool) {
	for pairs := range r.each("Cookie") {
		for len(pairs) > 0 {
			var pair []byte
			pair, pairs, _ = bytes.Cut(pairs, []byte(";"))
			n, v, found := bytes.Cut(trimSpace(pair), []byte("="))
			if !found || string(n) != name {
				continue
			}
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			return string(v), true
		}
	}
	return "", false
}

// SetPathValue sets what PathValue gives for name.
func (r *Request) SetPathValue(name, value string) {
	for i := range r.pathValues {
		if r.pathValues[i].name == name {
			r.pathValues[i].value = value
			return
		}
	}
	r.pathValues = append(r.pathValues, pathValue{name, value})
}

// PathValue returns the value of the wildcard name in the pattern that the
// request matched, as in net/http; "" if there is none.
func (r *Request) PathValue(name string) string {
	for i := range r.pathValues {
		if r.pathValues[i].name == name {
			return r.pathValues[i].value
		}
	}
	return ""
}

// HasBody reports whether a body follows the head: a Content-Length above 0 or
// a Transfer-Encoding.
func (r *Request) HasBody() bool { return r.hasBody }
