package serve

import (
	"log/slog"
	"net/netip"

	"github.com/millrace/millrace/server"
)

// balancerOptions are what stands between the clients and the server.
type balancerOptions struct {
	proxyProtocol  bool
	trustedProxies []netip.Prefix
	admin          string
}

func (b *balancerOptions) options() []option {
	modes := map[string]bool{"off": false, "required": true}
	return []option{
		{"proxy-protocol", "MODE", "required: each connection begins with a PROXY header, version 1 or 2, or is closed;\n" +
			"off: a header is a malformed request", "off", choice(&b.proxyProtocol, modes, "off", "required")},
		{"trusted-proxies", "CIDRS", "networks of balancers, separated by commas (repeatable), as 10.0.0.0/8: whose Forwarded,\n" +
			"X-Forwarded-For and -Proto count, and who may send PROXY headers (anybody, if none is given)", "", prefixes(&b.trustedProxies)},
		{"admin", "HOST:PORT", "TCP address that answers /healthz, /readyz, /metrics and /debug/conns whatever the main one is at;\n" +
			"keep it from the public", "", address(&b.admin)},
	}
}

// warn tells of a setting that is right only where nobody but the balancer can
// reach the port.
func (b *balancerOptions) warn(log *slog.Logger) {
	if b.proxyProtocol && len(b.trustedProxies) == 0 {
		log.Warn("PROXY headers count from anybody", "remedy", "--trusted-proxies")
	}
}

func (b *balancerOptions) apply(s *server.Server) error {
	s.ProxyProtocol, s.TrustedProxies = b.proxyProtocol, b.trustedProxies
	return nil
}
