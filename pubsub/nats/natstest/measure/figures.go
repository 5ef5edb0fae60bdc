package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// figures are the values of the rounds, by what they are of, in the order in which these came first.
type figures struct {
	names  []string
	values map[string][]float64
}

func (f *figures) add(name string, value float64) {
	if f.values == nil {
		f.values = map[string][]float64{}
	}
	if _, known := f.values[name]; !known {
		f.names = append(f.names, name)
	}
	f.values[name] = append(f.values[name], value)
}

// median is the middle one of some values, or of two the mean.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// interval is where the median of all values there could be lies with at least 95 % confidence; of fewer than six it is
// the lowest and the highest. How many values are below it is binomial.
func interval(values []float64) (low, high float64) {
	s := slices.Sorted(slices.Values(values))
	n, k, sum, chance := len(s), 0, 0.0, math.Pow(0.5, float64(len(s)))
	for sum+chance <= 0.025 {
		sum += chance
		chance *= float64(n-k) / float64(k+1)
		k++
	}
	k = max(k, 1)
	return s[k-1], s[n-k]
}

// table prints a row for each name, with a column for each of the figures.
func table(first string, columns []string, all []*figures) {
	fmt.Printf("| %s | %s |\n|---|%s\n", first, strings.Join(columns, " | "), strings.Repeat("--:|", len(columns)))
	var names []string
	for _, f := range all {
		for _, name := range f.names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		fmt.Printf("| %s |", name)
		for _, f := range all {
			fmt.Printf(" %s |", shown(f.values[name]))
		}
		fmt.Println()
	}
	fmt.Println()
}

// shown is a median with the lowest and the highest of its values.
func shown(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	low, high := slices.Min(values), slices.Max(values)
	if number(low) == number(high) {
		return number(low)
	}
	return fmt.Sprintf("%s [%s, %s]", number(median(values)), number(low), number(high))
}

// number is a value with three digits that count.
func number(v float64) string {
	switch digits := math.Log10(math.Abs(v)); {
	case v == 0 || digits >= 2:
		return grouped(int64(math.Round(v)))
	case digits >= 1:
		return fmt.Sprintf("%.1f", v)
	case digits >= -1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// grouped is a number with a comma between its thousands.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
