package load

import (
	"fmt"
	"math/rand/v2"
)

// What Plan.Text may be.
const (
	TextASCII    = "ascii" // random letters and digits
	TextWords    = "words" // 64 of them in random order
	TextJSON     = "json"  // objects as an application may send
	TextLatin    = "latin" // half of the letters have accents
	TextCyrillic = "cyrillic"
	TextCJK      = "cjk"
	TextEmoji    = "emoji"
)

// texts are all of them.
var texts = []string{TextASCII, TextWords, TextJSON, TextLatin, TextCyrillic, TextCJK, TextEmoji}

// script is a text of which each character has as many bytes, but for what stands
// between words, which has ASCII in their place.
type script struct {
	width int // of a character, in bytes
	of    func(random *rand.Rand) string
	space string // of width bytes
}

// oneOf gives a character of a range.
func oneOf(first, last rune) func(*rand.Rand) string {
	return func(random *rand.Rand) string { return string(first + random.Int32N(last-first+1)) }
}

var scripts = map[string]script{
	TextLatin: {2, func(random *rand.Rand) string {
		if random.IntN(2) == 0 {
			return oneOf('a', 'z')(random) + oneOf('a', 'z')(random)
		}
		return oneOf('à', 'ö')(random)
	}, ", "},
	TextCyrillic: {2, oneOf('а', 'я'), ", "},
	TextCJK:      {3, oneOf('一', '龥'), " - "},
	TextEmoji:    {4, oneOf('😀', '🙏'), " :) "},
}

// A table of a script is of cells, each of which is a character or a space. Every
// wordCells-th is a space, and a window that can not be filled with characters alone
// begins within one: so each begins and ends with a whole character, whatever its
// size.
const wordCells = 8

// write fills a table. With a vocabulary of few words it can be compressed.
func (s script) write(table []byte, random *rand.Rand, vocabulary int) {
	word := func() []byte {
		var text []byte
		for range wordCells - 1 {
			text = append(text, s.of(random)...)
		}
		return text
	}
	words := make([][]byte, vocabulary)
	for i := range words {
		words[i] = word()
	}
	for at := 0; at < len(table); {
		at += copy(table[at:], s.space)
		if vocabulary > 0 {
			at += copy(table[at:], words[random.IntN(vocabulary)])
		} else {
			at += copy(table[at:], word())
		}
	}
}

// window is the beginning of a message of a size at one of the places.
func (s script) window(place, size int) (at int) {
	if over := size % s.width; over > 0 {
		return place*wordCells*s.width + s.width - over
	}
	return place * wordCells * s.width
}

// room is how long a table must be for messages of a size.
func (s script) room(size int) int { return places*wordCells*s.width + size + s.width }

// writeJSON fills a table with objects.
func writeJSON(table []byte, random *rand.Rand) {
	names := []string{"ada", "grace", "edsger", "barbara", "donald", "margaret", "ken", "radia"}
	kinds := []string{"order", "trade", "quote", "cancel"}
	for at := 0; at < len(table); {
		object := fmt.Sprintf(`{"id":%d,"type":%q,"user":%q,"symbol":"%c%c%c","price":%.2f,"amount":%d,"time":"2026-%02d-%02dT%02d:%02d:%02dZ","tags":["new","web"],"ok":%v},`,
			random.IntN(1e6), kinds[random.IntN(len(kinds))], names[random.IntN(len(names))],
			'A'+random.IntN(26), 'A'+random.IntN(26), 'A'+random.IntN(26), random.Float64()*1000, random.IntN(500),
			1+random.IntN(12), 1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60), random.IntN(2) == 0)
		at += copy(table[at:], object)
	}
}
