package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Format gives a value for a person to read, in the unit that fits its size. The
// unit is that of a result.Figure ("us", "B", "1/s", "cores", "" for a count), "x" for
// a ratio, or any other, which then follows the number.
func Format(value float64, unit string) string {
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return "not known"
	case unit == "us":
		return scaled(value, 1000, "ns", "us", "ms", "s")
	case unit == "B":
		return scaled(value, 1024, "", "B", "KiB", "MiB", "GiB", "TiB")
	case unit == "1/s":
		return number(value) + " /s"
	case unit == "x":
		return fmt.Sprintf("%.2fx", value)
	case unit == "":
		return number(value)
	default:
		return number(value) + " " + unit
	}
}

// scaled gives value, which is in the second of units, in the unit that leaves one
// to four digits before the point. Each unit is factor times the one before; the
// first may be "": there is none smaller.
func scaled(value, factor float64, units ...string) string {
	i := 1
	if size := math.Abs(value); size < 0.9995 && size > 0 && units[0] != "" {
		i, value = 0, value*factor
	}
	// Not from 1 on: 999.7 rounds to 1,000.
	for i > 0 && i < len(units)-1 && math.Abs(value) >= 0.9995*factor {
		i, value = i+1, value/factor
	}
	return number(value) + " " + units[i]
}

// number gives a value with about three digits, or all before the point, in groups of
// three.
func number(value float64) string {
	digits := 0
	switch size := math.Abs(value); {
	case size < 0.0995:
		digits = 4
	case size < 9.995:
		digits = 2
	case size < 99.95:
		digits = 1
	}
	text := grouped(value, digits)
	if digits > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		text = "0"
	}
	return text
}

// grouped gives a value with so many decimals, and what is before the point in groups
// of three.
func grouped(value float64, digits int) string {
	if math.Abs(value) >= 1e15 { // no real figure: only of a file that is wrong
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	text := strconv.FormatFloat(math.Abs(value), 'f', digits, 64)
	whole, _, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if value < 0 && strings.Trim(text, "0.") != "" {
		text = "-" + text
	}
	return text
}

// Column gives the values of a column for a person to read: all in one unit and with as
// many decimals, so that they line up, and "-" for what is not known. The unit, as Format
// takes it, is chosen for the smallest value to have three digits that count.
func Column(values []float64, unit string) (texts []string, in string) {
	least := math.Inf(1)
	for _, v := range values {
		if size := math.Abs(v); size > 0 && size < least {
			least = size
		}
	}
	if math.IsInf(least, 1) {
		least = 1
	}
	in, scale := unit, 1.0
	steps := map[string][]string{"us": {"ns", "us", "ms", "s"}, "B": {"B", "KiB", "MiB", "GiB", "TiB"}}[unit]
	factor := 1000.0
	switch unit {
	case "us":
		scale = 1e-3
	case "B":
		factor = 1024
	case "1/s":
		in = "/s"
	}
	for i, name := range steps {
		if in = name; i == len(steps)-1 || least < scale*factor {
			break
		}
		scale *= factor
	}
	digits := min(max(2-int(math.Floor(math.Log10(least/scale))), 0), 3)
	for _, v := range values {
		text := "-"
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			text = grouped(v/scale, digits)
		}
		texts = append(texts, text)
	}
	return texts, in
}

// span is Format for a time of the plan.
func span(d time.Duration) string { return Format(float64(d)/1e3, "us") }

// plural is a number of things.
func plural[N int | int64](n N, what string) string {
	if n != 1 {
		what = several(what)
	}
	return number(float64(n)) + " " + what
}

// several is the plural of a thing's name.
func several(what string) string {
	if stem, ends := strings.CutSuffix(what, "y"); ends {
		return stem + "ies"
	}
	return what + "s"
}

// clean makes foreign text harmless in a terminal and keeps it on one line: a
// server's words may hold escape sequences.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
