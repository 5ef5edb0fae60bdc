package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/ws"
)

// PlanError says what is wrong with a plan.
type PlanError struct {
	Field   string // of Plan
	Problem string // what is wrong, and what is allowed
}

func (e *PlanError) Error() string { return "bench: " + e.Field + ": " + e.Problem }

func wrong(field, format string, args ...any) error {
	return &PlanError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// target is the server to load.
type target struct {
	address netip.AddrPort
	chosen  string // how the address was chosen, if there were several
	request ws.ClientRequest
	tls     *tls.Config // nil: without
}

// newTarget finds the server a plan names, or takes the address that was found already.
func newTarget(ctx context.Context, p *plan, known netip.AddrPort) (*target, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, wrong("URL", "%q is not a URL; %s", p.URL, tryURL(p.URL))
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.Opaque != "":
		return nil, wrong("URL", "%q is not a WebSocket URL; %s", p.URL, tryURL(p.URL))
	case u.Fragment != "" || u.User != nil:
		return nil, wrong("URL", "%q has a fragment or a user, which a WebSocket URL here must not have", p.URL)
	}
	usual := "80"
	if u.Scheme == "wss" {
		usual = "443"
	}
	port, err := strconv.ParseUint(orElse(u.Port(), usual), 10, 16)
	if err != nil || port == 0 {
		return nil, wrong("URL", "%q has port %q; allowed are 1 to 65535", p.URL, u.Port())
	}
	host, chosen := known.Addr(), ""
	if !known.IsValid() {
		if host, chosen, err = p.resolve(ctx, u.Hostname(), uint16(port)); err != nil {
			return nil, wrong("URL", "%v", err)
		}
	}
	for _, source := range p.Sources {
		if source.Unmap().Is4() != host.Is4() {
			return nil, wrong("Sources", "%v can not reach %v: one is of IPv4, the other of IPv6", source, host)
		}
	}
	t := &target{
		address: netip.AddrPortFrom(host, uint16(port)), chosen: chosen,
		request: ws.ClientRequest{
			Host: u.Host, Target: orElse(u.RequestURI(), "/"),
			Origin: p.Origin, Subprotocol: p.Subprotocol, Header: p.Header, Deflate: p.offer(),
		},
	}
	if err := t.request.Check(); err != nil {
		return nil, wrong("Header", "%v", err)
	}
	if u.Scheme == "wss" {
		t.tls, err = p.tlsConfig(u.Hostname())
	}
	return t, err
}

// tryURL says what a URL looks like, if possible what this one should.
func tryURL(text string) string {
	for _, scheme := range []struct{ wrong, right string }{{"http://", "ws://"}, {"https://", "wss://"}} {
		if rest, ok := strings.CutPrefix(strings.ToLower(text), scheme.wrong); ok && rest != "" {
			return "try " + scheme.right + text[len(scheme.wrong):]
		}
	}
	if u, err := url.Parse("ws://" + text); err == nil && u.Port() != "" && u.User == nil && !strings.Contains(text, "//") && !strings.HasPrefix(text, "ws") {
		return "try " + u.String()
	}
	return "it looks like ws://127.0.0.1:9001/path"
}

// probeTimeout is how long an address may take to be found listening.
const probeTimeout = time.Second

// resolve gives a host's address. Of several it takes the first on which somebody
// listens, those of IPv4 before those of IPv6, and says so.
func (p *plan) resolve(ctx context.Context, host string, port uint16) (address netip.Addr, chosen string, err error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap(), "", nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if host == "localhost" { // it is both, even where a hosts file knows one of them
		found, err = append(found, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()), nil
	}
	if err != nil {
		return netip.Addr{}, "", err
	}
	var all []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); !slices.Contains(all, a) && p.reachable(a) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return found[0].Unmap(), "", nil // the sources can not reach it, which is told
	}
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	if len(all) == 1 {
		return all[0], fmt.Sprintf("%s is %v", host, all[0]), nil
	}
	for _, a := range all[:min(len(all), 8)] {
		if listens(ctx, netip.AddrPortFrom(a, port)) {
			return a, fmt.Sprintf("%s is %s: %v is loaded, the first that listens", host, list(all), a), nil
		}
	}
	return all[0], fmt.Sprintf("%s is %s, and none of them listens: %v is tried", host, list(all), all[0]), nil
}

// reachable tells whether the plan's sources, if it has some, are of the address's kind.
func (p *plan) reachable(address netip.Addr) bool {
	return !slices.ContainsFunc(p.Sources, func(s netip.Addr) bool { return s.Unmap().Is4() != address.Is4() })
}

func list(all []netip.Addr) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// listens tries a connection, and ends it.
func listens(ctx context.Context, address netip.AddrPort) bool {
	dialer := net.Dialer{Timeout: probeTimeout}
	c, err := dialer.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return false
	}
	_ = c.Close() // nothing was said
	return true
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
