package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/ws"
)

// orOff is a setter that takes "off" as well, which is -1: never, or no bound. For the
// server 0 is the default.
func orOff[T int | int64 | time.Duration](to *T, set flags.Setter) flags.Setter {
	return func(text string) error {
		if text == "off" {
			*to = -1
			return nil
		}
		if err := set(text); err != nil {
			return fmt.Errorf("off, or %w", err)
		}
		return nil
	}
}

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

// list is what stands between commas, each checked.
func list(to *[]string, check func(string) error) flags.Setter {
	return func(text string) error {
		var items []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if err := check(item); err != nil {
				return err
			}
			items = append(items, item)
		}
		*to = items
		return nil
	}
}

var errPrefix = errors.New("addresses and networks such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32")

// prefixes are networks between commas; an address alone is one as well.
func prefixes(to *[]netip.Prefix) flags.Setter {
	return func(text string) error {
		var networks []netip.Prefix
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			p, err := netip.ParsePrefix(item)
			if addr, addrErr := netip.ParseAddr(item); addrErr == nil && addr.Zone() == "" {
				p, err = addr.Prefix(addr.BitLen())
			}
			if err != nil || p.Addr().Is4In6() {
				return errPrefix
			}
			networks = append(networks, p)
		}
		*to = networks
		return nil
	}
}

// origin checks a pattern of origins.
func origin(text string) error {
	_, err := ws.ParseOriginPattern(text)
	return wanted(err)
}

// host checks a pattern of hosts.
func host(text string) error {
	_, err := ws.ParseHostPattern(text)
	return wanted(err)
}

// wanted is what err says should have been there.
func wanted(err error) error {
	var wrong *ws.PatternError
	if errors.As(err, &wrong) {
		return errors.New(wrong.Want)
	}
	return err
}
