package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/ws"
)

// number is a whole number from least to most, or to noMost.
func number(to *int, least, most int) setter {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		switch bad := err != nil || n < least || n > most; {
		case bad && most == noMost:
			return fmt.Errorf("a whole number from %d", least)
		case bad:
			return fmt.Errorf("a whole number from %d to %d", least, most)
		}
		*to = n
		return nil
	}
}

// size is a number of bytes from least to most, which is a power of 1024 times
// a number, or to noMost.
func size[T int | int64](to *T, least, most int64) setter {
	return func(text string) error {
		n, ok := parseSize(text)
		switch bad := !ok || n < least || n > most; {
		case bad && most == noMost:
			return fmt.Errorf("a size such as 65536, 64k or 1MiB, from %d", least)
		case bad:
			return fmt.Errorf("a size such as 65536, 64k or 1MiB, from %d byte to %s", least, formatSize(most))
		}
		*to = T(n)
		return nil
	}
}

// orOff is a setter that takes "off" as well, which is -1: never, or no bound. For the
// server 0 is the default.
func orOff[T int | int64 | time.Duration](to *T, set setter) setter {
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

// sizeUnits are all powers of 1024, in any letter case; an i and a B may follow.
var sizeUnits = []string{"", "k", "m", "g"}

func parseSize(text string) (n int64, ok bool) {
	digits := strings.TrimRight(text, "bBiIkKmMgG")
	unit := strings.ToLower(text[len(digits):])
	unit = strings.TrimSuffix(unit, "b")
	power := slices.Index(sizeUnits, strings.TrimSuffix(unit, "i"))
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || power < 0 || unit == "i" || n > maxBytes {
		return 0, false // the bound keeps the shift in range
	}
	return n << (10 * power), true
}

func formatSize(n int64) string {
	for _, unit := range []string{"", "KiB", "MiB"} {
		if n%1024 != 0 {
			return strconv.FormatInt(n, 10) + unit
		}
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + "GiB"
}

// duration is a time from least to most; a bare 0 needs no unit.
func duration(to *time.Duration, least, most time.Duration) setter {
	return func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			like := "500ms, 30s or 5m"
			if least >= time.Second {
				like = "30s or 5m"
			}
			return fmt.Errorf("a time with its unit such as %s, from %v to %v", like, least, most)
		}
		*to = d
		return nil
	}
}

// orZero is duration, or 0 for none.
func orZero(to *time.Duration, least, most time.Duration) setter {
	set := duration(to, least, most)
	return func(text string) error {
		if *to = 0; text == "0" {
			return nil
		}
		if err := set(text); err != nil {
			return fmt.Errorf("0 or %w", err)
		}
		return nil
	}
}

// text is what it says.
func text(to *string) setter {
	return func(text string) error {
		*to = text
		return nil
	}
}

// name is one of the names.
func name(to *string, names []string) setter {
	return func(text string) error {
		if !slices.Contains(names, text) {
			return errors.New("one of " + strings.Join(names, ", "))
		}
		*to = text
		return nil
	}
}

// choice is what one of the names, which are the keys of values, stands for.
func choice[T any](to *T, values map[string]T, names ...string) setter {
	return func(text string) error {
		var chosen string
		if err := name(&chosen, names)(text); err != nil {
			return err
		}
		*to = values[chosen]
		return nil
	}
}

// address is host:port with a number for the port.
func address(to *string) setter {
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
func list(to *[]string, check func(string) error) setter {
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
func prefixes(to *[]netip.Prefix) setter {
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
