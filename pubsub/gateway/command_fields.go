package gateway

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
)

// # What encoding/json lets through
//
// It takes a field in any case, twice, and as null, and mends a text that is half of a surrogate pair. An envelope is refused
// for these, so that what the schema refuses is refused here, and nothing is published that was not sent.

// fieldNames are those of all that clients say, as they are written.
var fieldNames = []string{"id", "subscribe", "unsubscribe", "publish", "token", "ping", "since", "last", "info", "data", "binary", "key", "expires", "kept"}

// lookAt goes through the object that a text is, or should be: then the text may also be no JSON. id is its number, 0 for none,
// and wrong is what is wrong with a field, "" for nothing.
func lookAt(text []byte) (id uint64, wrong string) {
	seen := make([]bool, len(fieldNames))
	note := func(what string) {
		if wrong == "" {
			wrong = what
		}
	}
	depth, atName := 0, false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			if depth++; depth == 1 {
				if atName = text[i] == '{'; !atName {
					return 0, ""
				}
			}
		case '}', ']':
			if depth--; depth == 0 {
				return id, wrong
			}
		case ',':
			atName = depth == 1
		case '"':
			end, ok := endOfText(text, i)
			if !ok {
				note("a text has half of a surrogate pair")
			}
			if atName && depth == 1 {
				atName = false
				name, value := nameOf(text[i:end]), valueAt(text[end:])
				place := slices.Index(fieldNames, name)
				switch {
				case place < 0:
					note("an envelope has no field " + quoted(name))
				case seen[place]:
					note(name + " is given twice")
				case bytes.HasPrefix(value, []byte("null")) && name != "info":
					note(name + " can not be a JSON null")
				default:
					if seen[place] = true; name == "id" {
						id = number(value)
					}
				}
			}
			i = end - 1
		}
	}
	return id, wrong
}

// endOfText gives the place behind a text that begins at i. ok: its escapes are Unicode.
func endOfText(text []byte, i int) (end int, ok bool) {
	ok = true
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] != '\\' {
			continue
		}
		if first := escaped(text[i:]); utf16.IsSurrogate(first) {
			var second rune
			if i+6 < len(text) {
				second = escaped(text[i+6:])
			}
			if utf16.DecodeRune(first, second) == '\uFFFD' {
				ok = false
			} else {
				i += 6
			}
		}
		i++ // a quotation mark behind it does not end the text
	}
	return min(i+1, len(text)), ok
}

// escaped is what \uXXXX stands for; 0 is something else.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

// nameOf is a text as it is meant.
func nameOf(text []byte) (name string) {
	if len(text) > 1 && bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	if json.Unmarshal(text, &name) != nil {
		return ""
	}
	return name
}

// valueAt is what begins behind a colon.
func valueAt(text []byte) []byte {
	const space = " \t\r\n"
	text = bytes.TrimLeft(text, space)
	return bytes.TrimLeft(bytes.TrimPrefix(text, []byte(":")), space)
}

// number is a number that an envelope may have; 0 is none.
func number(text []byte) uint64 {
	if end := bytes.IndexAny(text, ",} \t\r\n"); end >= 0 {
		text = text[:end]
	}
	n, err := strconv.ParseUint(string(text), 10, 53)
	if err != nil {
		return 0
	}
	return n
}
