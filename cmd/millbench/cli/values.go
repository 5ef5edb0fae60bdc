package cli

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// A setter keeps a value, or says what it should have been: the error completes
// the sentence that begins with "want". It only keeps out what a plan can't say:
// bench.Run knows the limits.
type setter func(text string) error

// whole is a whole number from least up.
func whole(to *int, least int) setter {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least {
			return fmt.Errorf("a whole number from %d up", least)
		}
		*to = n
		return nil
	}
}

// decimal is a number above 0.
func decimal(to *float64) setter {
	return func(text string) error {
		if err := decimalOrNone(to)(text); err != nil || *to == 0 {
			return errors.New("a number above 0 such as 20000 or 0.5")
		}
		return nil
	}
}

func decimalOrNone(to *float64) setter {
	return func(text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0) || math.IsInf(n, 0) { // a NaN is not
			return errors.New("0 or a number above it such as 20000 or 0.5")
		}
		*to = n
		return nil
	}
}

// messages is a whole number, for which a plan's 0 is not 0.
func messages(to *int) setter {
	return func(text string) error {
		if err := whole(to, 0)(text); err != nil {
			return err
		}
		if *to == 0 {
			*to = -1
		}
		return nil
	}
}

func seed(to *uint64) setter {
	return func(text string) error {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			return errors.New("a whole number from 1 up")
		}
		*to = n
		return nil
	}
}

// duration is a time from least up; a bare 0 needs no unit.
func duration(to *time.Duration, least time.Duration) setter {
	return func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < least {
			above := "above 0"
			if least == 0 {
				above = "from 0 up"
			}
			return fmt.Errorf("a time %s with its unit such as 500ms, 30s or 5m", above)
		}
		*to = d
		return nil
	}
}

// warmup is a time, for which a plan's 0 is not 0.
func warmup(to *time.Duration) setter {
	return func(text string) error {
		if err := duration(to, 0)(text); err != nil {
			return err
		}
		if *to == 0 {
			*to = -1
		}
		return nil
	}
}

// sizeUnits are those that a size may have, in any letter case.
var sizeUnits = map[string]int{
	"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
}

// parseSize reads a number of bytes from least up.
func parseSize(text string, least int) (n int, ok bool) {
	digits := strings.TrimRightFunc(text, unicode.IsLetter)
	unit, known := sizeUnits[strings.ToLower(text[len(digits):])]
	n, err := strconv.Atoi(digits)
	if !known || err != nil || n < least || n > math.MaxInt/unit {
		return 0, false
	}
	return n * unit, true
}

// sizes is one size, or two with a dash between them.
func sizes(least, most *int) setter {
	return func(text string) error {
		from, to, isRange := strings.Cut(text, "-")
		if !isRange {
			to = from
		}
		low, ok := parseSize(from, 1)
		high, okToo := parseSize(to, 1)
		if !ok || !okToo || low > high {
			return errors.New("a size from 1 byte up such as 64, 64k or 1MiB, or a range of them such as 16-1024")
		}
		*least, *most = low, high
		return nil
	}
}

func bytesOrNone(to *int) setter {
	return func(text string) error {
		n, ok := parseSize(text, 0)
		if !ok {
			return errors.New("0 or a size such as 100, 64k or 1MiB")
		}
		*to = n
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

// yes is a flag without a value.
func yes(to *bool) setter {
	return func(text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("no value, or true or false")
		}
		*to = on
		return nil
	}
}

// text is any text.
func text(to *string) setter {
	return func(text string) error {
		*to = text
		return nil
	}
}

// more is one more text.
func more(to *[]string) setter {
	return func(text string) error {
		*to = append(*to, text)
		return nil
	}
}

func file(to *string) setter {
	return func(text string) error {
		if text == "" || text == "-" {
			return errors.New("the name of a file")
		}
		*to = text
		return nil
	}
}

func addresses(to *[]netip.Addr) setter {
	return func(text string) error {
		for item := range strings.SplitSeq(text, ",") {
			address, err := netip.ParseAddr(strings.TrimSpace(item))
			if err != nil {
				return errors.New("IP addresses separated by commas such as 127.0.0.2,127.0.0.3")
			}
			*to = append(*to, address)
		}
		return nil
	}
}

func serverPID(to *int) setter {
	return func(text string) error {
		switch text {
		case "auto":
			*to = 0
		case "none":
			*to = -1
		default:
			if err := whole(to, 1)(text); err != nil {
				return errors.New("a process id, auto or none")
			}
		}
		return nil
	}
}

func condition(to *[]report.Condition) setter {
	return func(text string) error {
		c, err := report.ParseCondition(text)
		if err != nil {
			// The value stands before it already.
			why := strings.TrimPrefix(err.Error(), fmt.Sprintf("report: condition %q: ", text))
			return fmt.Errorf("a condition such as 'p99>5ms': %s", why)
		}
		*to = append(*to, c)
		return nil
	}
}

// figures are the names of all figures, in lines that fit the help.
func figures() string {
	var b strings.Builder
	width := 0
	for _, f := range new(result.Result).Figures() {
		if width += len(f.Name) + 1; width > 80 {
			b.WriteString("\n")
			width = len(f.Name) + 1
		} else if b.Len() > 0 {
			b.WriteString(" ")
		}
		b.WriteString(f.Name)
	}
	return b.String()
}
