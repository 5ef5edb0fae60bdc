package ws_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// deflated is payload as a peer with the standard library's codec sends it, in a
// stream of its own.
func deflated(payload string, level int) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	if _, err = w.Write([]byte(payload)); err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inFrames sends payload in frames of size bytes (0: in one), the first of which
// begins with this byte.
func inFrames(first byte, payload string, size int) string {
	var wire []byte
	for size > 0 && len(payload) > size {
		wire = append(wire, clientFrame(first&^0x80, []byte(payload[:size]))...)
		payload, first = payload[size:], 0x80
	}
	return string(append(wire, clientFrame(first|0x80, []byte(payload))...))
}

// story is text that compresses, and differs from seed to seed.
func story(size int, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0))
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "{\"number\":%d,\"user\":\"%x\",\"street\":\"Mühlgasse %d\"},", r.Uint32N(1e6), r.Uint64(), r.Uint32N(99))
	}
	return strings.ToValidUTF8(b.String()[:size], ".")
}

func noise(size int, seed uint64) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return string(b)
}

func TestDecoderInflates(t *testing.T) {
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	long, random := story(70_000, 1), noise(70_000, 1)
	cases := []struct {
		name     string
		takeover bool
		wire     string
		want     []event
	}{
		{"RFC 7692, 7.2.3.1", false, inFrames(0xc1, hello, 0), []event{{ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.1, fragmented", false, inFrames(0xc1, hello, 3), []event{{ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.2, takeover", true, inFrames(0xc1, hello, 0) + inFrames(0xc1, "\xf2\x00\x11\x00\x00", 0), []event{{ws.Text, "Hello"}, {ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.2, none", false, inFrames(0xc1, hello, 0) + inFrames(0xc1, hello, 0), []event{{ws.Text, "Hello"}, {ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.3, stored", false, inFrames(0xc1, "\x00\x05\x00\xfa\xffHello\x00", 0), []event{{ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.4, final block", false, inFrames(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 0), []event{{ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.5, two blocks", false, inFrames(0xc1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 0), []event{{ws.Text, "Hello"}}},
		{"RFC 7692, 7.2.3.6, empty", false, inFrames(0xc1, "\x00", 0), []event{{ws.Text, ""}}},
		{"final block at the very end", false, inFrames(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00", 0), []event{{ws.Text, "Hello"}}},
		{"final block in the midst", false, inFrames(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00"+hello, 0), []event{{ws.Text, "HelloHello"}}},
		{"final blocks only", false, inFrames(0xc1, strings.Repeat("\x03\x00", 50)+hello, 0), []event{{ws.Text, "Hello"}}},
		{"takeover behind a final block", true, inFrames(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 0) + inFrames(0xc1, "\xf2\x00\x11\x00\x00", 0), []event{{ws.Text, "Hello"}, {ws.Text, "Hello"}}},
		{"no byte at all", false, inFrames(0xc2, "", 0), []event{{ws.Binary, ""}}},
		{"empty frames around it", false, masked("\x41\x80", "") + masked("\x00\x87", hello) + masked("\x80\x80", ""), []event{{ws.Text, "Hello"}}},
		{"uncompressed beside it", true, masked("\x81\x83", "abc") + inFrames(0xc1, hello, 0) + masked("\x01\x81", "x") + masked("\x80\x81", "y") + inFrames(0xc1, "\xf2\x00\x11\x00\x00", 0),
			[]event{{ws.Text, "abc"}, {ws.Text, "Hello"}, {ws.Text, "xy"}, {ws.Text, "Hello"}}},
		{"ping between frames", false, masked("\x41\x83", hello[:3]) + masked("\x89\x81", "p") + masked("\x80\x84", hello[3:]), []event{{ws.Ping, "p"}, {ws.Text, "Hello"}}},
		{"rune across codec blocks", false, inFrames(0xc1, "\x00\x02\x00\xfd\xff\xf0\x9f\x00\x02\x00\xfd\xff\x98\x80\x00", 2), []event{{ws.Text, "\U0001f600"}}},
		{"text of 70,000 bytes", false, inFrames(0xc1, deflated(long, 6), 0), []event{{ws.Text, long}}},
		{"the same fragmented", false, inFrames(0xc1, deflated(long, 1), 997), []event{{ws.Text, long}}},
		{"random bytes, stored", false, inFrames(0xc2, deflated(random, 6), 0), []event{{ws.Binary, random}}},
		{"random bytes, Huffman codes only", false, inFrames(0xc2, deflated(random, flate.HuffmanOnly), 5000), []event{{ws.Binary, random}}},
	}
	for _, c := range cases {
		reads := [][]int{nil, {1}, {2}, {3}, {7}, {13, 1}}
		if len(c.wire) > 200 {
			reads = [][]int{nil, {1}, {4096}}
		} else {
			for at := range len(c.wire) {
				reads = append(reads, []int{at + 1, len(c.wire)})
			}
		}
		for _, stream := range []bool{false, true} {
			for _, reads := range reads {
				name := fmt.Sprintf("%s, stream %v, reads of %v", c.name, stream, reads)
				d := ws.Decoder{Stream: stream, Deflate: true}
				if c.takeover {
					d.Window = &ws.Window{Bits: 15}
				}
				got := decode(t, &d, []byte(c.wire), reads...)
				if got.code != 0 || !slices.Equal(got.events, c.want) {
					t.Errorf("%s: got %v, error %v", name, got.events, got.code)
				}
				if d.Release(); !d.Idle() || d.Buffered() != 0 {
					t.Errorf("%s: not idle at the end, %d bytes held", name, d.Buffered())
				}
			}
		}
	}
}

func TestDecoderRefusesCompressed(t *testing.T) {
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	cases := []struct {
		name string
		wire string
		code ws.Code
	}{
		{"RSV2", "\xa1", 1002},
		{"RSV3", "\x91", 1002},
		{"RSV1 and RSV2", "\xe1", 1002},
		{"RSV1 and RSV3", "\xd2", 1002},
		{"RSV1 on a continuation", masked("\x41\x81", "\xf2") + "\xc0", 1002},
		{"RSV1 on a continuation of plain text", masked("\x01\x81", "a") + "\x40", 1002},
		{"RSV1 on a ping", "\xc9", 1002},
		{"RSV1 on a pong", "\xca", 1002},
		{"RSV1 on a close", "\xc8", 1002},
		{"RSV1 on a reserved opcode", "\xc3", 1002},
		{"RSV1 on a reserved control opcode", "\xcb", 1002},
		{"text inside a fragmented message", masked("\x41\x81", "\xf2") + "\xc1", 1002},
		{"compressed bytes over the limit and an eighth", "\xc2\xff\x00\x00\x00\x00\x00\x12\x05", 1009},
		{"length 2^62", "\xc2\xff\x40", 1009},
		{"1,001 empty fragments", masked("\x41\x80", "") + strings.Repeat(masked("\x00\x80", ""), 999) + "\x00\x80", 1008},

		{"reserved block type", inFrames(0xc2, "\x06", 0), 1007},
		{"random bytes", inFrames(0xc2, "\xff\xfe\xfd\xfc", 0), 1007},
		{"stored length wrong", inFrames(0xc2, "\x00\x05\x00\xfa\xfeHello\x00", 0), 1007},
		{"distance before the beginning", inFrames(0xc2, "\xf2\x00\x11\x00\x00", 0), 1007},
		{"distance before a final block", inFrames(0xc2, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", 0), 1007},
		{"truncated by one", inFrames(0xc2, hello[:6], 0), 1007},
		{"truncated by three", inFrames(0xc2, hello[:4], 0), 1007},
		{"truncated, stored", inFrames(0xc2, "\x00\x05\x00\xfa\xffHel", 0), 1007},
		{"truncated, dynamic codes", inFrames(0xc2, deflated(story(5000, 2), 6)[:1000], 0), 1007},
		{"behind the end of the last block", inFrames(0xc2, hello+"\xff", 0), 1007},
		{"text not UTF-8", inFrames(0xc1, deflated("abc\xff", 1), 0), 1007},
		{"text ends mid-rune", inFrames(0xc1, deflated("abc\xe2\x82", 1), 0), 1007},
		{"text over the limit", inFrames(0xc1, deflated(strings.Repeat("a", 1<<20+1), 1), 0), 1009},
	}
	for _, c := range cases {
		for _, stream := range []bool{false, true} {
			reads := [][]int{nil, {1}}
			for at := range min(len(c.wire), 100) {
				reads = append(reads, []int{at + 1, len(c.wire)})
			}
			if c.code == 1009 {
				reads = reads[:5] // each inflates up to the limit
			}
			for _, reads := range reads {
				d := ws.Decoder{Stream: stream, Deflate: true}
				if got := decode(t, &d, []byte(c.wire), reads...); got.code != c.code {
					t.Errorf("%s, stream %v, reads of %v: %v, code %d, not %d", c.name, stream, reads, got.events, got.code, c.code)
				}
				if d.Reset(); !d.Idle() || d.Buffered() != 0 {
					t.Errorf("%s: not idle after Reset", c.name)
				}
			}
		}
	}
}

// TestDecoderWithoutDeflate has the extension not agreed upon.
func TestDecoderWithoutDeflate(t *testing.T) {
	for _, first := range []string{"\xc1", "\xc2", "\x41"} {
		if got := decode(t, &ws.Decoder{}, []byte(first)); got.code != 1002 {
			t.Errorf("%q: code %d", first, got.code)
		}
	}
}

// TestDecoderAfterAnError has messages fail in every way, each before a good one
// of another connection, which is likely to get the same inflater.
func TestDecoderAfterAnError(t *testing.T) {
	good := inFrames(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 0)
	for _, bad := range []string{
		inFrames(0xc2, deflated(strings.Repeat("z", 1<<20+1), 1), 0),
		inFrames(0xc2, deflated(story(50_000, 3), 6)[:9000], 0),
		inFrames(0xc2, deflated(story(50_000, 3), 6)[:5000]+"\xff\xff\xff\xff\xff\xff", 0),
		inFrames(0xc1, deflated(story(40_000, 4)+"\xff", 6), 0),
		inFrames(0xc2, "\x06", 0),
	} {
		for _, stream := range []bool{false, true} {
			d := ws.Decoder{Stream: stream, Deflate: true}
			if got := decode(t, &d, []byte(bad)); got.code == 0 {
				t.Fatal("no error")
			}
			d.Reset()
			// A distance of 5 at the beginning: nothing may be there.
			other := ws.Decoder{Deflate: true}
			if got := decode(t, &other, []byte(inFrames(0xc1, "\xf2\x00\x11\x00\x00", 0))); got.code != 1007 {
				t.Errorf("a message refers to another connection's: %v", got.events)
			}
			got := decode(t, &d, []byte(good))
			if want := []event{{ws.Text, "Hello"}}; got.code != 0 || !slices.Equal(got.events, want) {
				t.Errorf("%v, error %d", got.events, got.code)
			}
		}
	}
}

// TestDecoderTakesExactlyTheLimitInflated has the limit hold for what is
// inflated, whether that is more or less than what was sent.
func TestDecoderTakesExactlyTheLimitInflated(t *testing.T) {
	const limit = 100_000
	for _, payload := range []string{noise(limit, 5), strings.Repeat("a", limit)} {
		for _, level := range []int{0, 1, flate.HuffmanOnly} {
			for _, stream := range []bool{false, true} {
				d := ws.Decoder{MaxMessage: limit, Stream: stream, Deflate: true}
				got := decode(t, &d, []byte(inFrames(0xc2, deflated(payload, level), 1000)), 3000)
				if got.code != 0 || len(got.events) != 1 || got.events[0].payload != payload {
					t.Errorf("stream %v, level %d: %d messages, error %d", stream, level, len(got.events), got.code)
				}
				d.MaxMessage--
				if got = decode(t, &d, []byte(inFrames(0xc2, deflated(payload, level), 1000)), 3000); got.code != 1009 {
					t.Errorf("stream %v, level %d, one more: error %d", stream, level, got.code)
				}
				d.Reset()
			}
		}
	}
}

// TestDecoderStreamsInflatedPieces holds the pieces' size and the memory behind
// them.
func TestDecoderStreamsInflatedPieces(t *testing.T) {
	payload := strings.Repeat("0123456789abcdef", 1<<16)
	wire := []byte(inFrames(0xc1, deflated(payload, 1), 0) + masked("\x89\x80", ""))
	d := ws.Decoder{Stream: true, Deflate: true}
	var got []byte
	for in := wire; ; {
		m, rest, err := d.Next(in)
		if err != nil {
			t.Fatal(err)
		}
		in = rest
		if m.Opcode == ws.Ping {
			break
		}
		if got = append(got, m.Payload...); len(m.Payload) > 32<<10 || d.Buffered() > 36<<10+32<<10+2*len(wire) {
			t.Fatalf("a piece of %d bytes, %d held", len(m.Payload), d.Buffered())
		}
		if !m.More && string(got) != payload {
			t.Fatalf("%d bytes", len(got))
		}
	}
	if string(got) != payload || !d.Idle() {
		t.Errorf("%d bytes of %d, idle %v", len(got), len(payload), d.Idle())
	}
}

// farCopy is a compressed message of the three bytes that lie n before it: one
// block with the fixed codes (RFC 1951 section 3.2.6), and the flush.
func farCopy(n int) string {
	bits, symbol := "", 0
	put := func(v, size int, low bool) {
		for i := range size {
			if !low {
				i = size - 1 - i
			}
			bits += string('0' + rune(v>>i&1))
		}
	}
	for symbol+1 < len(puffDistance) && puffDistance[symbol+1] <= n {
		symbol++
	}
	put(0b010, 3, true)    // not final, fixed codes
	put(257-256, 7, false) // length 3
	put(symbol, 5, false)
	put(n-puffDistance[symbol], puffDistanceBits[symbol], true)
	put(0, 7+3, true) // end of the block, header of the stored one
	payload := make([]byte, (len(bits)+7)/8)
	for i, bit := range bits {
		payload[i/8] |= byte(bit-'0') << (i % 8)
	}
	return string(payload)
}

// TestWindow holds a window to the end of what it was given, and to its size.
func TestWindow(t *testing.T) {
	for bits := 8; bits <= 15; bits++ {
		r := rand.New(rand.NewPCG(uint64(bits), 1))
		w := ws.Window{Bits: bits}
		all := "abc"
		w.Add([]byte(all))
		for range 200 {
			piece := noise(int(r.Uint32N(100))*int(r.Uint32N(20)), r.Uint64())
			w.Add([]byte(piece))
			all += piece
			if held := w.Held(); held > max(512, 1<<bits) || held > max(512, 2*len(all)) {
				t.Fatalf("%d bits: %d bytes held of %d", bits, held, len(all))
			}
			n := min(len(all), 1<<bits)
			if n < 1<<15 {
				if got, err := ws.AppendInflated(nil, []byte(farCopy(n+1)), 100, &w); err == nil {
					t.Fatalf("%d bits: %d bytes back is %q", bits, n+1, got)
				}
			}
			got, err := ws.AppendInflated(nil, []byte(farCopy(n)), 100, &w)
			if err != nil || string(got) != all[len(all)-n:][:3] {
				t.Fatalf("%d bits: %d bytes back is %q, %v", bits, n, got, err)
			}
			all += string(got)
		}
		if w.Free(); w.Held() != 0 {
			t.Errorf("%d bytes held after Free", w.Held())
		}
	}
}
