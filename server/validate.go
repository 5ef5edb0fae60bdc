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

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/ws"
)

// FieldError says that a field of a Server has a value with which the server can not
// work as documented.
type FieldError struct {
	Field string // as in Go: "MaxMessage", "Deflate.Level"
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
	v.rates(s)
	v.sizes(s)
	v.queues(s)
	v.timeouts(s)
	v.keepalive(s)
	v.compression(s.Deflate)
	v.security(s.TLSConfig)
	return errors.Join(v.wrong...)
}

// validation collects what is wrong.
type validation struct{ wrong []error }

// want says what field should be, unless it is all right.
func (v *validation) want(right bool, field string, value any, want string, args ...any) {
	if !right {
		v.wrong = append(v.wrong, &FieldError{field, value, fmt.Sprintf(want, args...)})
	}
}

// atLeast0 is for fields where a negative value means nothing.
func atLeast0[T int | int64](v *validation, field string, value T) {
	v.want(value >= 0, field, value, "0 or above")
}

// within is for fields of which 0 is the default, or none.
func within[T int | int64 | time.Duration](v *validation, field string, value, least, most T) {
	v.want(value == 0 || least <= value && value <= most, field, value, "0, or from %v to %v", least, most)
}

// sources judges from where the server takes connections and requests.
func (v *validation) sources(s *Server) {
	v.want(s.Addr == "" || isAddress(s.Addr), "Addr", s.Addr, `"host:port" with a port from 0 to 65535, such as ":8080", or "unix:/path"`)
	v.want(s.SocketMode&^fs.ModePerm == 0, "SocketMode", s.SocketMode, "0, or permissions such as 0660")
	for _, text := range s.Hosts {
		_, err := ws.ParseHostPattern(text)
		v.pattern("Hosts", err)
	}
	for _, text := range s.Origins {
		_, err := ws.ParseOriginPattern(text)
		v.pattern("Origins", err)
	}
	for i, name := range s.Subprotocols {
		v.want(ws.ValidSubprotocol(name), "Subprotocols", name, "a token: letters, digits and !#$%%&'*+-.^_`|~")
		v.want(!slices.Contains(s.Subprotocols[:i], name), "Subprotocols", name, "each once")
	}
	for _, p := range s.TrustedProxies {
		v.network("TrustedProxies", p)
	}
	within(v, "MaxProxyHeader", s.MaxProxyHeader, minProxyHeader, math.MaxInt)
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
	atLeast0(v, "MaxConns", s.MaxConns)
	atLeast0(v, "MaxConnsPerAddr", s.MaxConnsPerAddr)
	atLeast0(v, "MaxEmptyFragments", s.MaxEmptyFragments)
	atLeast0(v, "MaxTLSHandshakes", s.MaxTLSHandshakes)
	within(v, "MaxHeadLines", s.MaxHeadLines, minHeadLines, maxHeadLines)
	within(v, "Loops", s.Loops, 1, maxLoops)
	within(v, "MaxWorkers", s.MaxWorkers, 1, maxWorkers)
	v.want(s.QueuePolicy <= DropNewest, "QueuePolicy", s.QueuePolicy, "CloseWhenFull or DropNewest")
}

// rates judges token buckets. A burst without a rate would do nothing.
func (v *validation) rates(s *Server) {
	atLeast0(v, "HandshakeRate", s.HandshakeRate)
	atLeast0(v, "HandshakeBurst", s.HandshakeBurst)
	v.want(s.HandshakeBurst <= 0 || s.HandshakeRate != 0, "HandshakeBurst", s.HandshakeBurst, "0 without a HandshakeRate")
	atLeast0(v, "MessageRate", s.MessageRate)
	atLeast0(v, "MessageBurst", s.MessageBurst)
	v.want(s.MessageBurst <= 0 || s.MessageRate != 0, "MessageBurst", s.MessageBurst, "0 without a MessageRate")
	atLeast0(v, "ByteRate", s.ByteRate)
	atLeast0(v, "ByteBurst", s.ByteBurst)
	needs := bytesOfMessage(s.maxMessage())
	switch {
	case s.ByteBurst <= 0:
	case s.ByteRate == 0:
		v.want(false, "ByteBurst", s.ByteBurst, "0 without a ByteRate")
	case s.ByteBurst < needs:
		v.want(false, "ByteBurst", s.ByteBurst, "0, or at least %d: what a message of MaxMessage, which is %d, takes", needs, s.maxMessage())
	}
}

// sizes judges bounds of what is received.
func (v *validation) sizes(s *Server) {
	within(v, "MaxHead", s.MaxHead, minHead, maxHead)
	atLeast0(v, "MaxMessage", s.MaxMessage)
	needs := s.inboundOfOne()
	v.want(s.MaxInbound <= 0 || s.MaxInbound >= needs, "MaxInbound", s.MaxInbound,
		"0, or at least %d, which one connection may need by MaxMessage and MaxHead", needs)
}

// inboundOfOne is the most memory that one connection may need for what it receives:
// the buffer of its message or head, and TLS records.
func (s *Server) inboundOfOne() int64 {
	size := min(max(s.maxMessage(), int64(cmp.Or(s.MaxHead, defaultMaxHead))), math.MaxInt/2)
	if s.Deflate != nil {
		size += size/8 + 1<<10 // compressing may make a message larger
	}
	return int64(buffer.CapOf(int(size))) + inboundSlack
}

// queues judges bounds of what waits to be sent.
func (v *validation) queues(s *Server) {
	atLeast0(v, "MaxQueue", s.MaxQueue)
	atLeast0(v, "QueueLowWater", s.QueueLowWater)
	v.want(s.MaxQueue <= 0 || s.QueueHighWater <= s.MaxQueue, "QueueHighWater", s.QueueHighWater,
		"0, or at most MaxQueue, which is %d", s.MaxQueue)
	high := limits{maxMessage: s.maxMessage()}
	high.setQueue(s)
	switch {
	case s.QueueHighWater < 0:
		v.want(s.QueueLowWater <= 0, "QueueLowWater", s.QueueLowWater, "0, since by QueueHighWater there is never a pause")
	default:
		v.want(s.QueueLowWater <= high.highWater, "QueueLowWater", s.QueueLowWater, "0, or at most QueueHighWater, which is %d", high.highWater)
	}
	v.want(s.MaxBacklog <= 0 || s.MaxBacklog >= int64(s.MaxQueue), "MaxBacklog", s.MaxBacklog,
		"0, or at least the MaxQueue of one connection, which is %d", s.MaxQueue)
}

// maxMessage is the effective MaxMessage.
func (s *Server) maxMessage() int64 { return positive(s.MaxMessage, defaultMaxMessage) }

// bytesOfMessage is what a message of this size takes in one frame, with its mask.
func bytesOfMessage(size int64) int64 {
	const mask = 4
	header := int64(ws.MaxHeader + mask)
	switch {
	case size <= 125:
		header = 2 + mask
	case size < 1<<16:
		header = 4 + mask
	}
	return min(size, math.MaxInt64-header) + header
}

// timeouts judges times. Below 0 is never, where that is an answer.
func (v *validation) timeouts(s *Server) {
	within(v, "HandshakeTimeout", s.HandshakeTimeout, minTimeout, maxTimeout)
	within(v, "WriteTimeout", s.WriteTimeout, minTimeout, maxTimeout)
	within(v, "MessageTimeout", max(s.MessageTimeout, 0), minTimeout, maxTimeout)
	within(v, "CloseTimeout", s.CloseTimeout, minTimeout, maxTimeout)
	within(v, "IdleTimeout", s.IdleTimeout, minTimeout, maxTimeout)
	within(v, "BodyTimeout", max(s.BodyTimeout, 0), minTimeout, maxTimeout)
	within(v, "HTTPIdleTimeout", max(s.HTTPIdleTimeout, 0), minTimeout, maxTimeout)
	within(v, "MaxLifetime", s.MaxLifetime, minTimeout, maxTimeout)
	within(v, "PingInterval", max(s.PingInterval, 0), minTimeout, maxTimeout)
	within(v, "BalancerIdleTimeout", s.BalancerIdleTimeout, minBalancerIdle, maxTimeout)
	v.want(s.MaxLifetime <= 0 || s.IdleTimeout <= s.MaxLifetime, "IdleTimeout", s.IdleTimeout,
		"0, or at most MaxLifetime, which is %v: nobody is there so long", s.MaxLifetime)
}

// keepalive judges pings that a balancer, which cuts idle connections, is to see.
func (v *validation) keepalive(s *Server) {
	idle := s.BalancerIdleTimeout
	if idle < minBalancerIdle {
		return
	}
	v.want(s.PingInterval >= 0 && s.PingInterval <= MaxPingInterval(idle), "PingInterval", s.PingInterval,
		"0, or at most %v, jitter included: the balancer cuts idle connections after the BalancerIdleTimeout of %v", MaxPingInterval(idle), idle)
	v.want(s.HTTPIdleTimeout <= 0 || s.HTTPIdleTimeout > idle, "HTTPIdleTimeout", s.HTTPIdleTimeout,
		"0, or more than the BalancerIdleTimeout of %v: the balancer's requests would meet closed connections", idle)
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
