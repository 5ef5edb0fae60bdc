package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Wrap breaks a text into lines of at most width characters, between words where it
// can, and not between a number and its unit. It gives at least one line.
func Wrap(text string, width int) []string {
	lines := []string{""}
	for _, word := range words(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) <= width:
			*last += " " + word
			continue
		default:
			lines = append(lines, word)
		}
		for letters := []rune(word); len(letters) > width; { // a word alone is too long
			lines[len(lines)-1] = string(letters[:width])
			letters = letters[width:]
			lines = append(lines, string(letters))
		}
	}
	return lines
}

// words splits a text; a number and a short word behind it, its unit, stay one.
func words(text string) []string {
	const longestUnit = 4
	var all []string
	for _, word := range strings.Fields(text) {
		last := len(all) - 1
		if last >= 0 && isNumber(all[last]) && !isNumber(word) && utf8.RuneCountInString(word) <= longestUnit {
			all[last] += " " + word
			continue
		}
		all = append(all, word)
	}
	return all
}

func isNumber(word string) bool {
	return strings.Trim(word, "0123456789.,") == "" && strings.Trim(word, ".,") != ""
}

// Shorten gives names of at most width characters, which must be 4 or more: of a longer
// one the middle becomes "…". Two that would then be the same get a number at their
// end, so that different names stay different.
func Shorten(names []string, width int) []string {
	short := make([]string, len(names))
	taken := map[string]string{} // the name that a short one stands for
	for i, name := range names {
		short[i] = shortened(name, "", width)
		for n := 2; taken[short[i]] != "" && taken[short[i]] != name; n++ {
			short[i] = shortened(name, fmt.Sprintf("~%d", n), width)
		}
		taken[short[i]] = name
	}
	return short
}

// shortened cuts a name's middle out and puts an end behind it.
func shortened(name, end string, width int) string {
	letters := []rune(name)
	if end == "" && len(letters) <= width {
		return name
	}
	room := max(width-1-utf8.RuneCountInString(end), 0)
	head := min((room+1)/2, len(letters))
	tail := min(room-head, len(letters)-head)
	return string(letters[:head]) + "…" + string(letters[len(letters)-tail:]) + end
}
