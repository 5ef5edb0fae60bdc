package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/ws"
)

// FieldError says that a field of a Server, of a connection's ConnLimits or of
// DrainOptions has a value with which the server can not work as documented.
type FieldError struct {
	Field string // as in Go: "Limits.Message", "ConnLimits.Queue.Max", "DrainOptions.Rate"
	Value any    // of a list the element that is wrong
	Want  string // what is allowed; completes "want", and names other fields as in Go
}

// Error names field and value and says what is allowed.
func (e *FieldError) Error() string {
	if text, ok := e.Value.(string); ok {
		return fmt.Sprintf("server: %s %q: want %s", e.Field, text, e.Want)
	}
	return fmt.Sprintf("server: %s %v: want %s", e.Field, e.Value, e.Want)
}

// Bounds of what can be set, where there is none by the type or by another field.
const (
	// minTimeout and maxTimeout bound all timeouts: a loop's clock counts tenths of a
	// second, for 13 years.
	minTimeout = time.Millisecond
	maxTimeout = 366 * 24 * time.Hour

	minHead        = 135 // bytes of the shortest handshake there can be
	minHeadLines   = 6   // of any handshake: the request line, Host, Upgrade, Connection, key, version
	maxHead        = 1 << 30
	maxHeadLines   = math.MaxInt32
	minProxyHeader = 52            // with IPv6 addresses
	inboundSlack   = 2 * earlyRead // TLS records, and what belongs to a message
	maxLoops       = 1 << 10
	maxWorkers     = 1 << 20
)

// Validate reports fields whose value can not work: out of their range, a pattern that
// matches nothing, or in contradiction to others. The error is, or joins, one
// [*FieldError] a field. The server validates itself when it starts, so that Serve,
// ListenAndServe and Listen return the error, and ServeHTTP answers 500 and logs it.
func (s *Server) Validate() error {
	var v validation
	v.sources(s)
	v.counts(s)
	v.timeouts(s)
	v.conn(s.connFields())
	v.accounts(s)
	v.keepalive(s)
	v.compression(s.Deflate)
	v.security(s.TLSConfig)
	return errors.Join(v.wrong...)
}

// validation collects what is wrong.
type validation struct {
	wrong []error
	names *strings.Replacer // makes other names of the server's fields; nil: of none
}

// want says what field should be, unless it is all right.
func (v *validation) want(right bool, field string, value any, want string, args ...any) {
	if right {
		return
	}
	want = fmt.Sprintf(want, args...)
	if v.names != nil {
		field, want = v.names.Replace(field), v.names.Replace(want)
	}
	v.wrong = append(v.wrong, &FieldError{field, value, want})
}

// atLeast0 is for fields where a negative value means nothing.
func atLeast0[T int | int64 | time.Duration](v *validation, field string, value T) {
	v.want(value >= 0, field, value, "0 or above")
}

// within is for fields of which 0 is the default, or none.
func within[T int | int64 | time.Duration](v *validation, field string, value, least, most T) {
	v.want(value == 0 || least <= value && value <= most, field, value, "0, or from %v to %v", least, most)
}

// sources judges from where the server takes connections and requests.
func (v *validation) sources(s *Server) {
	v.want(s.Addr == "" || isAddress(s.Addr), "Addr", s.Addr, `"host:port" with a port from 0 to 65535, such as ":8080", or "unix:/path"`)
	v.want(s.Runtime.SocketMode&^fs.ModePerm == 0, "Runtime.SocketMode", s.Runtime.SocketMode, "0, or permissions such as 0660")
	for _, text := range s.Origin.Hosts {
		_, err := ws.ParseHostPattern(text)
		v.pattern("Origin.Hosts", err)
	}
	for _, text := range s.Origin.Allow {
		_, err := ws.ParseOriginPattern(text)
		v.pattern("Origin.Allow", err)
	}
	for i, name := range s.Subprotocols {
		v.want(ws.ValidSubprotocol(name), "Subprotocols", name, "a token: letters, digits and !#$%%&'*+-.^_`|~")
		v.want(!slices.Contains(s.Subprotocols[:i], name), "Subprotocols", name, "each once")
	}
	for _, p := range s.Proxy.Trusted {
		v.network("Proxy.Trusted", p)
	}
	within(v, "Proxy.MaxHeader", s.Proxy.MaxHeader, minProxyHeader, math.MaxInt)
}

func isAddress(addr string) bool {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return path != ""
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	return err == nil
}

func (v *validation) pattern(field string, err error) {
	var wrong *ws.PatternError
	if errors.As(err, &wrong) {
		v.want(false, field, wrong.Text, "%s", wrong.Want)
	}
}

// network judges a network that addresses are compared with, which are never IPv4
// addresses in disguise.
func (v *validation) network(field string, p netip.Prefix) {
	switch {
	case !p.IsValid():
		v.want(false, field, p, "a network such as 10.0.0.0/8")
	case p.Addr().Is4In6():
		v.want(false, field, p, "IPv4 networks as such: 10.0.0.0/8")
	case p != p.Masked():
		v.want(false, field, p, "%v for the network, or %v for the address", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
}

// counts judges how many there may be of what.
func (v *validation) counts(s *Server) {
	atLeast0(v, "Limits.Conns", s.Limits.Conns)
	atLeast0(v, "Limits.ConnsPerAddr", s.Limits.ConnsPerAddr)
	atLeast0(v, "Limits.EmptyFragments", s.Limits.EmptyFragments)
	atLeast0(v, "Limits.TLSHandshakes", s.Limits.TLSHandshakes)
	within(v, "Limits.Head", s.Limits.Head, minHead, maxHead)
	within(v, "Limits.HeadLines", s.Limits.HeadLines, minHeadLines, maxHeadLines)
	within(v, "Runtime.Loops", s.Runtime.Loops, 1, maxLoops)
	within(v, "Runtime.Workers", s.Runtime.Workers, 1, maxWorkers)
	atLeast0(v, "Limits.HandshakeRate", s.Limits.HandshakeRate)
	atLeast0(v, "Limits.HandshakeBurst", s.Limits.HandshakeBurst)
	v.want(s.Limits.HandshakeBurst <= 0 || s.Limits.HandshakeRate != 0, "Limits.HandshakeBurst", s.Limits.HandshakeBurst, "0 without a Limits.HandshakeRate")
}

// accounts judges bounds of what all connections hold together.
func (v *validation) accounts(s *Server) {
	most := s.connFields().maxQueue()
	v.want(s.Limits.QueueMemory <= 0 || s.Limits.QueueMemory >= int64(most), "Limits.QueueMemory", s.Limits.QueueMemory,
		"0, or at least the Queue.Max of one connection, which is %d", most)
	needs := s.inboundOfOne(s.connFields().maxMessage())
	v.want(s.Limits.InboundMemory <= 0 || s.Limits.InboundMemory >= needs, "Limits.InboundMemory", s.Limits.InboundMemory,
		"0, or at least %d, which one connection may need by Limits.Message and Limits.Head", needs)
}

// timeouts judges times. Below 0 is never, where that is an answer.
func (v *validation) timeouts(s *Server) {
	within(v, "Timeouts.Handshake", s.Timeouts.Handshake, minTimeout, maxTimeout)
	within(v, "Timeouts.Body", max(s.Timeouts.Body, 0), minTimeout, maxTimeout)
	within(v, "Timeouts.HTTPIdle", max(s.Timeouts.HTTPIdle, 0), minTimeout, maxTimeout)
	within(v, "Keepalive.BalancerIdle", s.Keepalive.BalancerIdle, minBalancerIdle, maxTimeout)
}

// keepalive judges what a balancer, which cuts idle connections, is to see.
func (v *validation) keepalive(s *Server) {
	idle := s.Keepalive.BalancerIdle
	v.pings(s.Keepalive.Interval, idle)
	v.want(idle < minBalancerIdle || s.Timeouts.HTTPIdle <= 0 || s.Timeouts.HTTPIdle > idle, "Timeouts.HTTPIdle", s.Timeouts.HTTPIdle,
		"0, or more than the Keepalive.BalancerIdle of %v: the balancer's requests would meet closed connections", idle)
}

func (v *validation) compression(d *Deflate) {
	if d == nil {
		return
	}
	within(v, "Deflate.Level", d.Level, 1, 9)
	within(v, "Deflate.ServerMaxWindowBits", d.ServerMaxWindowBits, minWindowBits, maxWindowBits)
	within(v, "Deflate.ClientMaxWindowBits", d.ClientMaxWindowBits, minWindowBits+1, maxWindowBits)
	atLeast0(v, "Deflate.MaxWindows", d.MaxWindows)
}

// security judges what can be seen of a TLS configuration; GetConfigForClient may
// give another for each client.
func (v *validation) security(c *tls.Config) {
	if c == nil || c.GetConfigForClient != nil {
		return
	}
	least, most := cmp.Or(c.MinVersion, tls.VersionTLS12), cmp.Or(c.MaxVersion, tls.VersionTLS13)
	v.want(least <= tls.VersionTLS13, "TLSConfig.MinVersion", tls.VersionName(c.MinVersion), "at most TLS 1.3")
	v.want(least > tls.VersionTLS13 || most >= least, "TLSConfig.MaxVersion", tls.VersionName(c.MaxVersion),
		"at least %s, the MinVersion", tls.VersionName(least))
}
