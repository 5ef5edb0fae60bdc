package flags

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Unbounded is the upper bound of values that have none.
const Unbounded = math.MaxInt64

// Whole is a whole number from least to most; the type's largest one is no bound.
func Whole[T int | int64 | uint64](to *T, least, most T) Setter {
	return func(text string) error {
		n, ok := parseWhole[T](text)
		switch {
		case ok && n >= least && n <= most:
			*to = n
			return nil
		case most+1 < most:
			return fmt.Errorf("a whole number from %d up", least)
		}
		return fmt.Errorf("a whole number from %d to %d", least, most)
	}
}

func parseWhole[T int | int64 | uint64](text string) (n T, ok bool) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return T(n), T(n) >= 0 && uint64(T(n)) == n
	}
	signed, err := strconv.ParseInt(text, 10, 64)
	return T(signed), err == nil && (T(signed) < 0) == (signed < 0) && int64(T(signed)) == signed
}

// Size is a number of bytes from least to most, see ParseSize.
func Size[T int | int64 | uint64](to *T, least, most int64) Setter {
	return func(text string) error {
		n, ok := ParseSize(text)
		if ok && n >= least && n <= most && int64(T(n)) == n {
			*to = T(n)
			return nil
		}
		from, upTo := strconv.FormatInt(least, 10), "up"
		if least > 0 {
			from += " byte"
		}
		if most < vastSize {
			upTo = "to " + FormatSize(most)
		}
		return fmt.Errorf("a size such as 65536, 64k or 1MiB, from %s %s", from, upTo)
	}
}

// vastSize is more than there is of anything: an error need not tell of such a bound.
const vastSize = 1 << 60

// sizeUnits are all powers of 1024, in any letter case; an i and a B may follow.
var sizeUnits = []string{"", "k", "m", "g"}

// ParseSize reads a number of bytes: 65536, 64k, 64K, 64kb or 64KiB, with k, m and
// g. It may be negative.
func ParseSize(text string) (n int64, ok bool) {
	digits := strings.TrimRight(text, "bBiIkKmMgG")
	unit := strings.TrimSuffix(strings.ToLower(text[len(digits):]), "b")
	power := slices.Index(sizeUnits, strings.TrimSuffix(unit, "i"))
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || power < 0 || unit == "i" {
		return 0, false
	}
	unitBytes := int64(1) << (10 * power)
	if n > math.MaxInt64/unitBytes || n < math.MinInt64/unitBytes {
		return 0, false
	}
	return n * unitBytes, true
}

// FormatSize writes a number of bytes in the largest unit that it is a whole number
// of.
func FormatSize(n int64) string {
	for _, unit := range []string{"", "KiB", "MiB"} {
		if n%1024 != 0 || n == 0 {
			return strconv.FormatInt(n, 10) + unit
		}
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + "GiB"
}

// Duration is a time from least to most; a bare 0 needs no unit.
func Duration(to *time.Duration, least, most time.Duration) Setter {
	return func(text string) error {
		such := "with its unit such as 500ms, 30s or 5m"
		if least >= time.Second {
			such = "with its unit such as 30s or 5m"
		}
		d, err := time.ParseDuration(strings.ToLower(text))
		switch {
		case err == nil && d >= least && d <= most:
			*to = d
			return nil
		case most < Unbounded:
			return fmt.Errorf("a time %s, from %v to %v", such, least, most)
		case least == 1:
			return errors.New("a time above 0 " + such)
		}
		from := "0"
		if least != 0 {
			from = least.String()
		}
		return fmt.Errorf("a time from %s up %s", from, such)
	}
}

// OrZero is set, or 0 where the least that set takes is more.
func OrZero[T int | int64 | time.Duration](to *T, set Setter) Setter {
	return or(to, 0, []string{"0"}, set)
}

// OrOff is set, or "off", which is -1 and may be given as that: no bound, or never.
func OrOff[T int | int64 | time.Duration](to *T, set Setter) Setter {
	return or(to, -1, []string{"off", "-1"}, set)
}

// or is set, or a value that has names, of which the first is told.
func or[T any](to *T, value T, names []string, set Setter) Setter {
	return func(text string) error {
		if slices.Contains(names, text) {
			*to = value
			return nil
		}
		if err := set(text); err != nil {
			return fmt.Errorf("%s, or %w", names[0], err)
		}
		return nil
	}
}

// Text is any text.
func Text(to *string) Setter {
	return func(text string) error {
		*to = text
		return nil
	}
}

// Texts is one more text each time.
func Texts(to *[]string) Setter {
	return func(text string) error {
		*to = append(*to, text)
		return nil
	}
}

// List is what stands between commas, each as parse makes it of its text, added to
// what is there. The error of parse says what the texts should have been.
func List[T any](to *[]T, parse func(string) (T, error)) Setter {
	return func(text string) error {
		var items []T
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" && strings.Trim(text, ", ") != "" {
				continue // a comma too many
			}
			parsed, err := parse(item)
			if err != nil {
				return err
			}
			items = append(items, parsed)
		}
		*to = append(*to, items...)
		return nil
	}
}

// Bool is a flag without a value, or true or false.
func Bool(to *bool) Setter {
	return func(text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("no value, or true or false")
		}
		*to = on
		return nil
	}
}

// Name is one of the names.
func Name(to *string, names []string) Setter {
	return func(text string) error {
		if !slices.Contains(names, text) {
			return errors.New("one of " + strings.Join(names, ", "))
		}
		*to = text
		return nil
	}
}

// Choice is what one of the names, the keys of values, stands for.
func Choice[T any](to *T, values map[string]T, names ...string) Setter {
	return func(text string) error {
		var chosen string
		if err := Name(&chosen, names)(text); err != nil {
			return err
		}
		*to = values[chosen]
		return nil
	}
}
