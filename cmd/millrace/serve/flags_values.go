package serve

import (
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/ws"
)

// address is host:port with a number for the port.
func address(to *string) flags.Setter {
	return func(text string) error {
		_, port, err := net.SplitHostPort(text)
		if _, badPort := strconv.ParseUint(port, 10, 16); err != nil || badPort != nil {
			return errors.New("HOST:PORT such as :8080, 127.0.0.1:8080 or [::1]:8080, with a port from 0 to 65535")
		}
		*to = text
		return nil
	}
}

// cidr is a network in CIDR notation, or an address, which is one as well.
func cidr(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
		p, err = addr.Prefix(addr.BitLen())
	}
	if err != nil || p.Addr().Is4In6() {
		return p, errors.New("addresses and networks such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32")
	}
	return p, nil
}

// origin is a pattern of origins.
func origin(text string) (string, error) {
	_, err := ws.ParseOriginPattern(text)
	return text, wanted(err)
}

// host is a pattern of hosts.
func host(text string) (string, error) {
	_, err := ws.ParseHostPattern(text)
	return text, wanted(err)
}

// wanted is what err says should have been there.
func wanted(err error) error {
	var wrong *ws.PatternError
	if errors.As(err, &wrong) {
		return errors.New(wrong.Want)
	}
	return err
}
