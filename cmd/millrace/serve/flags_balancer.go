package serve

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// balancerOptions are what stands between the clients and the server.
type balancerOptions struct {
	proxyProtocol  bool
	trustedProxies []netip.Prefix
	trustUnix      bool // the peers on a Unix socket are among them
}

func (b *balancerOptions) options() []flags.Option {
	modes := map[string]bool{"off": false, "required": true}
	return []flags.Option{
		flags.New("proxy-protocol", "MODE", "required: each connection begins with a PROXY header, version 1 or 2, or is closed;\n"+
			"off: a header is a malformed request", "off", flags.Choice(&b.proxyProtocol, modes, "off", "required")).Sets("Proxy.Protocol"),
		flags.New("trusted-proxies", "CIDRS", "networks of balancers, separated by commas (repeatable), as 10.0.0.0/8: whose Forwarded,\n"+
			"X-Forwarded-For, -Proto, -Host and -Port count, and who may send PROXY headers (anybody, if none is given);\n"+
			"unix: the peers on the socket of --listen unix:PATH", "", proxies(&b.trustedProxies, &b.trustUnix)).Sets("Proxy.Trusted").Listed(),
	}
}

func (b *balancerOptions) check(v flags.Values) error {
	listen := v["listen"].Text // a socket that the process is given may be of either kind
	if b.trustUnix && !strings.HasPrefix(listen, unixPrefix) && !strings.HasPrefix(listen, fdPrefix) {
		return fmt.Errorf("unix in %s says nothing without --listen unix:PATH", v["trusted-proxies"].Source)
	}
	return nil
}

// warn tells of settings that are right only where nobody but the balancer can
// reach the port.
func (b *balancerOptions) warn(log *slog.Logger) {
	if b.proxyProtocol && len(b.trustedProxies) == 0 && !b.trustUnix {
		log.Warn("PROXY headers count from anybody", "remedy", "--trusted-proxies")
	}
	for _, p := range b.trustedProxies {
		if p.Bits() == 0 {
			log.Warn("forwarded headers count from anybody", "trusted_proxies", p, "remedy", "the balancers' networks in --trusted-proxies")
		}
	}
}

func (b *balancerOptions) apply(s *server.Server) error {
	s.Proxy.Protocol, s.Proxy.Trusted, s.Proxy.TrustUnix = b.proxyProtocol, b.trustedProxies, b.trustUnix
	return nil
}

// proxies are networks between commas, and "unix".
func proxies(to *[]netip.Prefix, unix *bool) flags.Setter {
	set := flags.List(to, cidr)
	return func(text string) error {
		var networks []string
		for item := range strings.SplitSeq(text, ",") {
			if strings.TrimSpace(item) == "unix" {
				*unix = true
			} else {
				networks = append(networks, item)
			}
		}
		if len(networks) == 0 {
			return nil
		}
		if err := set(strings.Join(networks, ",")); err != nil {
			return fmt.Errorf("%w, or unix", err)
		}
		return nil
	}
}
