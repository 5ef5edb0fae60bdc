// Package shorttext cuts what a peer has said to what an error or a log may have of it.
package shorttext

import "unicode/utf8"

// Cut cuts a text behind so many bytes, or a few less so that it is between two runes, and says so with "...".
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most
	for end > max(most-utf8.UTFMax, 0) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}
