package load_test

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/load"
)

// FuzzHead: what a head says is what was put into it, at any time within some years
// of when it is read, and nothing but its letters is one.
func FuzzHead(f *testing.F) {
	f.Add(uint32(0), uint32(0), int64(0), int64(0), byte(0), byte('A'))
	f.Add(uint32(1<<24-1), uint32(1<<32-1), int64(1<<61), int64(-1<<58), byte(19), byte(' '))
	f.Add(uint32(7), uint32(9), int64(1<<40), int64(1<<50), byte(3), byte(0xff))
	f.Fuzz(func(t *testing.T, publisher, number uint32, now, ago int64, at, letter byte) {
		publisher %= 1 << 24
		now, ago = now>>2, ago>>5
		due := time.Duration(now - ago)
		text := load.AppendHead(nil, publisher, number, due)
		if len(text) != load.HeadSize || !utf8.Valid(text) {
			t.Fatalf("%q", text)
		}
		gotPublisher, gotNumber, gotDue, ok := load.ParseHead(text, time.Duration(now))
		if !ok || gotPublisher != publisher || gotNumber != number || gotDue != due {
			t.Errorf("%d %d %d %v, want %d %d %d", gotPublisher, gotNumber, gotDue, ok, publisher, number, due)
		}
		text[int(at)%len(text)] = letter
		isLetter := letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9' || letter == '-' || letter == '_'
		if _, _, _, ok := load.ParseHead(text, time.Duration(now)); ok && !isLetter {
			t.Errorf("%q is a head", text)
		}
	})
}
