package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/ws"
)

// modes are the values of a flag that is on or off.
var modes = map[string]bool{"off": false, "on": true}

// switchedOn is a flag that is off unless it is given, alone or with on. help says what it does then, and what off does.
func switchedOn(name, help string, to *bool) flags.Option {
	return flags.Option{
		Name: name, Value: "MODE", Default: "off", Alone: "on", Set: flags.Choice(to, modes, "off", "on"),
		Help: "on, or the flag alone: " + help,
	}
}

// needs says which of the flags in a group says nothing, since the one that they all need is not on.
func needs(flag string, on bool, group []flags.Option, v flags.Values) error {
	for _, o := range group {
		if given := v[o.Name]; !on && o.Name != flag && !given.ByDefault {
			return fmt.Errorf("%s says nothing without --%s", given.Source, flag)
		}
	}
	return nil
}

// settings reads words such as messages=100, and gives other those that are of none of the kinds.
func settings(words []string, kinds map[string]flags.Setter, other func(word string) error) error {
	for _, word := range words {
		name, value, has := strings.Cut(word, "=")
		set := kinds[name]
		if !has || set == nil {
			if err := other(word); err != nil {
				return err
			}
		} else if err := set(value); err != nil {
			return fmt.Errorf("behind %s= %w", name, err)
		}
	}
	return nil
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
