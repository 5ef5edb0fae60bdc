package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/millrace/millrace/bench/result"
)

// Condition is one figure compared with a limit, as in "p99>5ms". The zero value
// can not be checked.
type Condition struct {
	text     string
	name     string
	operator string
	limit    float64 // in the figure's unit
	unit     string
}

// operators, those that begin with another one first.
var operators = []string{">=", "<=", ">", "<"}

// ParseCondition reads a figure's name (see result.Result.Figures), one of > >= < <=, and a
// number with its unit: ns, us, ms or s for a time; B, KB, MB or GB for a size, which are
// powers of 1,024 as in flags and may have an i; none for all others. Letter case does
// not matter, and neither do spaces between them.
func ParseCondition(text string) (Condition, error) {
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return Condition{}, fmt.Errorf("report: condition %q: no > >= < or <= in it, as in p99>5ms", text)
	}
	c := Condition{text: strings.TrimSpace(text), name: strings.TrimSpace(text[:at])}
	for _, c.operator = range operators {
		if strings.HasPrefix(text[at:], c.operator) {
			break
		}
	}
	figure, ok := new(result.Result).Figure(c.name)
	if !ok {
		return Condition{}, fmt.Errorf("report: condition %q: no figure %q; there are %s", text, c.name, figureNames())
	}
	c.unit = figure.Unit
	var err error
	if c.limit, err = parseLimit(text[at+len(c.operator):], figure); err != nil {
		return Condition{}, fmt.Errorf("report: condition %q: %w", text, err)
	}
	return c, nil
}

func figureNames() string {
	var names []string
	for _, f := range new(result.Result).Figures() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// limitUnits are the units in which a limit may be given, in lower case, by the unit of
// the figure.
var limitUnits = map[string]struct {
	list  string
	scale map[string]float64
}{
	"us": {"ns, us, ms or s", map[string]float64{"ns": 1e-3, "us": 1, "µs": 1, "μs": 1, "ms": 1e3, "s": 1e6}},
	"B": {"B, KiB, MiB or GiB", map[string]float64{
		"b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
	}},
}

func parseLimit(text string, figure result.Figure) (float64, error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRightFunc(text, unicode.IsLetter)
	unit := strings.ToLower(text[len(digits):])
	value, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	units, has := limitUnits[figure.Unit]
	switch {
	case !has && unit != "":
		return 0, fmt.Errorf("%s has no unit, leave %q away", figure.Name, text[len(digits):])
	case !has:
		return value, nil
	case units.scale[unit] == 0:
		return 0, fmt.Errorf("%s needs one of the units %s", figure.Name, units.list)
	}
	return value * units.scale[unit], nil
}

// String is the condition as it was given.
func (c Condition) String() string { return c.text }

// Holds tells whether the condition is true of a result, and the figure's actual
// value. A figure that the run did not measure is an error: nothing can be said.
func (c Condition) Holds(r *result.Result) (holds bool, actual string, err error) {
	figure, ok := r.Figure(c.name)
	if !ok || !figure.Known {
		return false, "", fmt.Errorf("report: condition %q can not be checked: this run did not measure %s", c.text, c.name)
	}
	switch c.operator {
	case ">":
		holds = figure.Value > c.limit
	case ">=":
		holds = figure.Value >= c.limit
	case "<":
		holds = figure.Value < c.limit
	case "<=":
		holds = figure.Value <= c.limit
	}
	return holds, Format(figure.Value, figure.Unit), nil
}
