package ws_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/ws"
)

// scripts are texts to repeat, all of them longer than a register.
var scripts = []struct{ name, text string }{
	{"ascii", "The quick brown fox jumps over the lazy dog, and over again. "},
	{"latin", "Les élèves de l'école où Zoë a été reçue vont à la fête de Noël. "},
	{"cyrillic", "Съешь же ещё этих мягких французских булок, да выпей чаю. "},
	{"chinese", "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。"},
	{"emoji", "\U0001f600\U0001f680\U0001f44d\U0001f3fd\U0001f389\U0001f60e\U0001f923\U0001f525\U0001f30d"},
	{"json", `{"id":8123,"user":"René","time":"2026-11-22T10:11:12Z","text":"see you at the office, as ever","city":"Köln"},`},
}

// scriptText gives n bytes of a script, whole runes and then dots.
func scriptText(script string, n int) []byte {
	b := []byte(strings.Repeat(script, n/len(script)+1)[:n])
	for end := n - 1; !utf8.Valid(b); end-- {
		b[end] = '.'
	}
	return b
}

// wrongUTF8 has every class of wrong bytes, and beside it what is just right.
var wrongUTF8 = []string{
	"\x80", "\xbf", "\xc3\xa9\x80", "\xe2\x82\xac\x80", "\xf0\x9f\x98\x80\x80", // continues nothing
	"\xc0\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xe0\x9f\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf", // overlong
	"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xbf\xbf", // surrogates
	"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff", // beyond U+10FFFF
	"\xc3", "\xe2", "\xe2\x82", "\xf0", "\xf0\x9f", "\xf0\x9f\x98", // cut
	"\xc3\xc3\xa9", "\xe2\x82\xe2\x82\xac", "\xf0\x9f\x98\xf0\x9f\x98\x80", // cut by another rune
	"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", // right
}

// TestUTF8WrongAnywhere puts each of wrongUTF8 at every place around the borders
// of a register, before and after text that is ASCII and that is not, and wants
// what utf8.Valid says of the message as a whole, where the memory ends.
func TestUTF8WrongAnywhere(t *testing.T) {
	for _, script := range scripts {
		for _, behind := range []int{0, 1, 15, 16, 17, 31, 32, 33, 64, 100} {
			tail := scriptText(script.text, behind)
			for before := range 132 {
				head := scriptText(script.text, before)
				for _, wrong := range wrongUTF8 {
					text := append(append(head[:before:before], wrong...), tail...)
					if got, want := takenWhole(t, text), utf8.Valid(text); got != want {
						t.Fatalf("%s: %q behind %d bytes and before %d: taken %v, want %v", script.name, wrong, before, behind, got, want)
					}
				}
			}
		}
	}
}

// takenWhole tells whether a text message in one frame is taken.
func takenWhole(t *testing.T, text []byte) bool {
	t.Helper()
	var d ws.Decoder
	m, _, err := d.Next(clientFrame(0x81, text))
	if err == nil && string(m.Payload) != string(text) {
		t.Fatalf("%q became %q", text, m.Payload)
	}
	return err == nil
}

// TestUTF8WrongInPieces cuts such messages at every byte, into two reads of a frame
// and into two frames. The first half must be refused exactly when nothing that may
// follow makes it right.
func TestUTF8WrongInPieces(t *testing.T) {
	for _, script := range scripts {
		for _, before := range []int{0, 1, 15, 29, 30, 31, 32, 33, 62, 64} {
			head := scriptText(script.text, before)
			for _, wrong := range wrongUTF8 {
				text := append(append(head[:before:before], wrong...), scriptText(script.text, 40)...)
				wrongInPieces(t, text)
			}
		}
	}
}

func wrongInPieces(t *testing.T, text []byte) {
	t.Helper()
	bad := len(text) // the first byte that is wrong
	for n := range text {
		if dfa(text[:n+1]) == dfaBad {
			bad = n
			break
		}
	}
	whole := clientFrame(0x81, text)
	header := len(whole) - len(text)
	for cut := range len(text) + 1 {
		frames := append(clientFrame(0x01, text[:cut]), clientFrame(0x80, text[cut:])...)
		first := len(frames) - len(clientFrame(0x80, text[cut:]))
		for _, in := range [][2][]byte{
			{bytes.Clone(whole[:header+cut]), bytes.Clone(whole[header+cut:])},
			{frames[:first:first], frames[first:]},
		} {
			var d ws.Decoder
			_, _, err := d.Next(in[0])
			if refused := err != nil; refused != (bad < cut) {
				t.Fatalf("%q, cut at %d: refused at once %v, byte %d is wrong", text, cut, refused, bad)
			}
			if err != nil || cut == len(text) && bad == len(text) {
				continue
			}
			m, _, err := d.Next(in[1])
			if valid := utf8.Valid(text); valid != (err == nil && m.Opcode == ws.Text) || valid && string(m.Payload) != string(text) {
				t.Fatalf("%q, cut at %d: %v, error %v", text, cut, m, err)
			}
		}
	}
}

// TestUTF8AtMemoryEnd has texts of each script end where the memory ends, so that
// a check that reads on behind them faults.
func TestUTF8AtMemoryEnd(t *testing.T) {
	for _, script := range scripts {
		for size := range 200 {
			text := scriptText(script.text, size)
			for _, wrong := range []string{"", "\xc3", "\xe2\x82", "\xf0\x9f\x98"} {
				text := append(text[:size:size], wrong...)
				in, release := guarded(t, clientFrame(0x81, text))
				var d ws.Decoder
				if _, _, err := d.Next(in); (err == nil) != utf8.Valid(text) {
					t.Errorf("%s, %d bytes and %q: error %v", script.name, size, wrong, err)
				}
				release()
			}
		}
	}
}

// TestUTF8Sizes has what is left behind the pieces of a large message be of any
// length, down to nothing.
func TestUTF8Sizes(t *testing.T) {
	const piece = 256 << 10
	text := "a" + strings.Repeat("\u00e9", piece/2+40)
	for size := piece - 40; size < piece+80; size++ {
		in := []byte(masked(fmt.Sprintf("\x81\xff\x00\x00\x00\x00%s", []byte{0, byte(size >> 16), byte(size >> 8), byte(size)}), text[:size]))
		var d ws.Decoder
		if _, _, err := d.Next(in); (err == nil) != utf8.ValidString(text[:size]) {
			t.Errorf("%d bytes: error %v", size, err)
		}
	}
}

// TestUTF8Large puts runes and wrong bytes across the borders of the pieces in
// which a large message is checked.
func TestUTF8Large(t *testing.T) {
	const piece = 256 << 10
	for _, filler := range []string{"ab", "\u00e9"} { // of two bytes, as the borders below
		in := []byte(masked("\x81\xff\x00\x00\x00\x00\x00\x08\x00\x64", strings.Repeat(filler, piece+50)))
		text := in[len(in)-2*piece-100:]
		for _, border := range []int{piece, 2 * piece} {
			around := text[border-8 : border+8]
			before := string(around)
			for _, wrong := range wrongUTF8 {
				for back := range len(wrong) + 2 {
					copy(around, "................")
					copy(around[8-back:], wrong)
					var d ws.Decoder
					if _, _, err := d.Next(in); (err == nil) != utf8.Valid(around) {
						t.Fatalf("%q, %d bytes before byte %d: error %v", wrong, back, border, err)
					}
				}
			}
			copy(around, before)
		}
	}
}
