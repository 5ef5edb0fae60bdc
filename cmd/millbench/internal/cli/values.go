package cli

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/internal/report"
)

// What follows only keeps out what a scenario can't say: bench.Run knows the limits.

// whole is a whole number from 0, which is the default, up.
func whole(to *int) flags.Setter { return flags.Whole(to, 0, math.MaxInt) }

// duration is a time from 0, which is the default, up.
func duration(to *time.Duration) flags.Setter { return flags.Duration(to, 0, flags.Unbounded) }

// decimal is a number from 0, which is the default, up.
func decimal(to *float64) flags.Setter {
	return func(text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0) || math.IsInf(n, 0) { // a NaN is not
			return errors.New("a number from 0 up such as 20000 or 0.5")
		}
		*to = n
		return nil
	}
}

// publishers is a number from 0, which is the default, up, or all, which is -1.
func publishers(to *int) flags.Setter {
	return func(text string) error {
		if text == "all" {
			*to = -1
			return nil
		}
		if flags.Whole(to, 0, math.MaxInt)(text) != nil {
			return errors.New("all, or a whole number from 0 up")
		}
		return nil
	}
}

// sizes is one size, or two with a dash between them.
func sizes(least, most *int) flags.Setter {
	return func(text string) error {
		low, high, isRange := strings.Cut(text, "-")
		if !isRange {
			high = low
		}
		sizes := [2]int{}
		lowErr := flags.Size(&sizes[0], 1, flags.Unbounded)(low)
		highErr := flags.Size(&sizes[1], 1, flags.Unbounded)(high)
		if lowErr != nil || highErr != nil || sizes[0] > sizes[1] {
			return errors.New("a size from 1 byte up such as 64, 64k or 1MiB, or a range of them such as 16-1024")
		}
		*least, *most = sizes[0], sizes[1]
		return nil
	}
}

func file(to *string) flags.Setter {
	return func(text string) error {
		if text == "" || text == "-" { // stdout is for JSON
			return errors.New("the name of a file")
		}
		*to = text
		return nil
	}
}

func address(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, errors.New("IP addresses separated by commas such as 127.0.0.2,127.0.0.3")
	}
	return a, nil
}

func serverPID(to *int) flags.Setter {
	set := flags.Whole(to, -1, math.MaxInt)
	return func(text string) error {
		switch text {
		case "auto":
			text = "0"
		case "none":
			text = "-1"
		}
		if set(text) != nil {
			return errors.New("a process id, auto or none")
		}
		return nil
	}
}

func condition(to *[]report.Condition) flags.Setter {
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
