package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"

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
	request ws.ClientRequest
	tls     *tls.Config // nil: without
}

// newTarget finds the server a plan names.
func newTarget(ctx context.Context, p *plan) (*target, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, wrong("URL", "%q is not a URL; it looks like ws://127.0.0.1:9001/path", p.URL)
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.Opaque != "":
		return nil, wrong("URL", "%q is not a WebSocket URL; it looks like ws://127.0.0.1:9001/path", p.URL)
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
	host, err := resolve(ctx, u.Hostname())
	if err != nil {
		return nil, wrong("URL", "%v", err)
	}
	for _, source := range p.Sources {
		if source.Unmap().Is4() != host.Is4() {
			return nil, wrong("Sources", "%v can not reach %v: one is of IPv4, the other of IPv6", source, host)
		}
	}
	t := &target{
		address: netip.AddrPortFrom(host, uint16(port)),
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

// resolve gives a host's first address, preferably of IPv4.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap(), nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addresses {
		if a.Unmap().Is4() {
			return a.Unmap(), nil
		}
	}
	return addresses[0], nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
