package load_test

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
)

// FuzzContent: a payload follows from the seed, the connection and the message's
// number alone, has a size in the range, and is text.
func FuzzContent(f *testing.F) {
	f.Add(uint64(1), uint16(64), uint16(0), uint32(0), uint32(0))
	f.Add(uint64(0), uint16(0), uint16(1), uint32(1<<32-1), uint32(1<<32-1))
	f.Add(uint64(1<<64-1), uint16(65535), uint16(65535), uint32(99), uint32(1<<31))
	for i := range load.Texts {
		for size := range uint16(5) {
			f.Add(uint64(2*i), size, uint16(0), uint32(7), uint32(9))
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64, least, more uint16, connection, number uint32) {
		p := result.Plan{Seed: seed, MinSize: int(least), MaxSize: int(least) + int(more)}
		p.Text = load.Texts[seed/2%uint64(len(load.Texts))]
		if seed%2 == 1 {
			p.Deflate = load.DeflateOn
		}
		got := load.NewContent(p).Message(connection, number)
		if len(got) < p.MinSize || len(got) > p.MaxSize || got == nil {
			t.Errorf("%d bytes, want %d to %d", len(got), p.MinSize, p.MaxSize)
		}
		if !utf8.Valid(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if again := load.NewContent(p).Message(connection, number); !bytes.Equal(got, again) {
			t.Errorf("%q, and then %q", got, again)
		}
	})
}

// TestContentSizes: all sizes of a range occur, about as often as each other.
func TestContentSizes(t *testing.T) {
	c := load.NewContent(result.Plan{Seed: 1, MinSize: 10, MaxSize: 19})
	const messages = 10000
	count := map[int]int{}
	for number := range uint32(messages) {
		count[len(c.Message(7, number))]++
	}
	for size := 10; size <= 19; size++ {
		if n := count[size]; n < messages/10*8/10 || n > messages/10*12/10 {
			t.Errorf("%d messages of %d bytes among %d, want a tenth", n, size, messages)
		}
	}
}

// TestTexts: each text is of its own characters, nearly all of the width that it is
// there for, and is compressed as well as such text is when that is asked for.
func TestTexts(t *testing.T) {
	for text, want := range map[string]struct {
		width  float64 // bytes a character
		packed float64 // of its size, at most
	}{
		load.TextASCII: {1, 0.8}, load.TextWords: {1, 0.6}, load.TextJSON: {1, 0.4},
		load.TextLatin: {1.2, 0.7}, load.TextCyrillic: {1.7, 0.6}, load.TextCJK: {2.3, 0.6}, load.TextEmoji: {2.8, 0.6},
	} {
		for _, deflate := range []string{load.DeflateOff, load.DeflateOn} {
			c := load.NewContent(result.Plan{Seed: 1, MinSize: 4000, MaxSize: 4000, Text: text, Deflate: deflate})
			message := c.Message(3, 4)
			if got := 4000 / float64(utf8.RuneCount(message)); got < want.width || got > want.width*1.3 {
				t.Errorf("%s, deflate %s: %.2f bytes a character, want %v: %.40q", text, deflate, got, want.width, message)
			}
			if share := float64(len(packed(message))) / 4000; deflate == load.DeflateOn && share > want.packed {
				t.Errorf("%s: compressed to %.2f of its size, want %v", text, share, want.packed)
			}
		}
	}
}

// TestContentDiffers: a message is unlike its neighbours, those of other
// connections and those of other seeds, so that one in the place of another shows.
func TestContentDiffers(t *testing.T) {
	c := load.NewContent(result.Plan{Seed: 1, MinSize: 8, MaxSize: 8})
	other := load.NewContent(result.Plan{Seed: 2, MinSize: 8, MaxSize: 8})
	const messages = 1000
	alike := 0
	for connection := range uint32(10) {
		for number := range uint32(messages) {
			message := c.Message(connection, number)
			for _, wrong := range [][]byte{c.Message(connection, number+1), c.Message(connection+1, number), c.Message(number, connection), other.Message(connection, number)} {
				if connection != number && bytes.Equal(message, wrong) {
					alike++
				}
			}
		}
	}
	if alike > 5 { // 40,000 pairs, of which one in 65,536 may be alike
		t.Errorf("%d of %d pairs are alike", alike, 40*messages)
	}
}

// TestSources: the system's choice comes first, then the addresses of
// 127.0.0.0/8 for a server there; each until it is used up, round and round.
func TestSources(t *testing.T) {
	given := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	for name, tt := range map[string]struct {
		plan   result.Plan
		server string
		first  string // "invalid IP" is the system's choice
		second string
		round  int // how many addresses
	}{
		"loopback":       {result.Plan{}, "127.0.0.1", "invalid IP", "127.0.0.2", 249},
		"elsewhere":      {result.Plan{}, "10.1.2.3", "invalid IP", "invalid IP", 1},
		"IPv6":           {result.Plan{}, "::1", "invalid IP", "invalid IP", 1},
		"given":          {result.Plan{Sources: given}, "10.1.2.3", "10.0.0.1", "10.0.0.2", 2},
		"given loopback": {result.Plan{Sources: given}, "127.0.0.1", "10.0.0.1", "10.0.0.2", 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := load.NewSources(tt.plan, netip.MustParseAddr(tt.server))
			first, at := s.Get()
			if again, _ := s.Get(); first.String() != tt.first || again != first {
				t.Errorf("%v and then %v, want %v until it is used up", first, again, tt.first)
			}
			round := 1
			for ; s.UsedUp(at); _, at = s.Get() {
				round++
			}
			if round != tt.round {
				t.Errorf("a round of %d addresses, want %d", round, tt.round)
			}
			if again, _ := s.Get(); again != first {
				t.Errorf("the next round begins with %v, want %v", again, first)
			}
			_, at = s.Get()
			var all sync.WaitGroup
			for range 10 { // loops that find it used up at once
				all.Go(func() { s.UsedUp(at) })
			}
			all.Wait()
			if next, _ := s.Get(); next.String() != tt.second {
				t.Errorf("went on to %v, want %v", next, tt.second)
			}
		})
	}
}
