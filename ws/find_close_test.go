package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// failing gives wire to d in reads until Next fails, or until it has been called
// so many times (below 0: any number), when a server may fail for a reason of its
// own. from is how much of wire Next has eaten.
func failing(t testing.TB, d *ws.Decoder, wire []byte, reads []int, calls int) (from int, code ws.Code) {
	t.Helper()
	for _, in := range split(wire, reads) {
		end := from + len(in)
		for ; calls != 0; calls-- {
			m, rest, err := d.Next(in)
			in, from = rest, end-len(rest)
			if !bytes.Equal(rest, wire[from:end]) {
				t.Fatalf("left over: %q, not %q", rest, wire[from:end])
			}
			if failed, ok := errors.AsType[*ws.CloseError](err); ok {
				if d.Buffered() != 0 || d.Idle() {
					t.Fatalf("after an error: %d bytes held, idle %v", d.Buffered(), d.Idle())
				}
				return from, failed.Code
			}
			if m.Opcode == 0 {
				break
			}
		}
		if calls == 0 {
			break
		}
		calls--
	}
	return from, 0
}

// seeking gives the rest of wire to d.FindClose, first nothing of it and then
// reads of the given sizes, and wants the close frame found by the call that eats
// the last byte of its header (-1: by none) and those behind it.
func seeking(t testing.TB, d *ws.Decoder, wire []byte, from, header int, reads ...int) {
	t.Helper()
	taken := d.Taken()
	for _, in := range append([][]byte{nil}, split(wire[from:], reads)...) {
		found := d.FindClose(in)
		if !bytes.Equal(in, wire[from:from+len(in)]) {
			t.Fatalf("%q has become %q", wire[from:from+len(in)], in)
		}
		from += len(in)
		if want := header >= 0 && from >= header; found != want {
			t.Fatalf("found %v with %d bytes of %q, the header ends at %d", found, from, wire, header)
		}
		if d.Buffered() != 0 || d.Idle() || d.Taken() != taken {
			t.Fatalf("%d bytes held, idle %v, %d taken", d.Buffered(), d.Idle(), d.Taken()-taken)
		}
	}
}

var (
	closeFrame = masked("\x88\x82", "\x03\xe8")
	decoys     = strings.Repeat(closeFrame, 3) // 24 bytes
	zeros      = strings.Repeat("\x88\x00", 12)

	// skipped is what a peer may send before its close frame, and more.
	skipped = masked("\x89\x98", decoys) + masked("\x01\x98", zeros) + masked("\x80\x80", "") + "\x82\x18" + decoys +
		masked("\x82\xfe\x00\x90", strings.Repeat(decoys, 6)) + masked("\x8b\xff\x00\x00\x00\x00\x00\x00\x00\x18", zeros) + "\xf3\x00"
)

// failures has each way to fail. header is where in bad the header ends by which
// the close frame is found: 0, if it is the one behind skipped, or -1 for none.
var failures = []struct {
	name   string
	good   string
	bad    string
	code   ws.Code
	header int
}{
	{"RSV2", "", masked("\xa1\x98", decoys), 1002, 0},
	{"RSV1 on a ping", "", masked("\xc9\x98", decoys), 1002, 0},
	{"RSV3, 16-bit length", "", masked("\x91\xfe\x00\x90", strings.Repeat(decoys, 6)), 1002, 0},
	{"RSV2, no payload", "", masked("\xa1\x80", ""), 1002, 0},
	{"RSV2, unmasked, no payload", "", "\xa1\x00", 1002, 0},
	{"reserved opcode", "", masked("\x83\x98", decoys), 1002, 0},
	{"reserved control opcode", "", masked("\x8b\x98", zeros), 1002, 0},
	{"unmasked", "", "\x81\x18" + decoys, 1002, 0},
	{"unmasked, 16-bit length", "", "\x81\x7e\x00\x90" + strings.Repeat(decoys, 6), 1002, 0},
	{"unmasked, 64-bit length", "", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x18" + zeros, 1002, 0},
	{"fragmented ping", fragment, masked("\x09\x98", decoys), 1002, 0},
	{"ping of 144 bytes", fragment, masked("\x89\xfe\x00\x90", strings.Repeat(zeros, 6)), 1002, 0},
	{"continuation first", masked("\x81\x81", "a"), masked("\x80\x98", decoys), 1002, 0},
	{"text inside a message", fragment, masked("\x81\x98", decoys), 1002, 0},
	{"16 bits for 24", "", masked("\x82\xfe\x00\x18", decoys), 1002, 0},
	{"16 bits for 0", "", masked("\x82\xfe\x00\x00", ""), 1002, 0},
	{"64 bits for 24", fragment, masked("\x80\xff\x00\x00\x00\x00\x00\x00\x00\x18", decoys), 1002, 0},
	{"length with the top bit", "", masked("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x18", decoys), 1002, -1},
	{"length of all bits, unmasked", "", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff" + decoys, 1002, -1},
	{"length 2^63-1", "", masked("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", decoys), 1009, -1},

	{"too big", "", masked("\x82\xfe\x00\x90", strings.Repeat(decoys, 6)), 1009, 0},
	{"too big together", masked("\x02\x98", decoys), masked("\x00\x98", decoys), 1009, 0},
	{"too many empty fragments", masked("\x01\x80", "") + masked("\x00\x80", ""), masked("\x80\x80", ""), 1008, 0},

	{"not UTF-8", "", masked("\x81\x98", zeros), 1007, 0},
	{"not UTF-8, with a mask", "", string(clientFrame(0x81, []byte(zeros))), 1007, 0},
	{"not UTF-8 from the middle on", "", masked("\x81\x9c", "abc\xff"+decoys), 1007, 0},
	{"not UTF-8 at the end", "", masked("\x81\x84", "abc\xff"), 1007, 0},
	{"not UTF-8 in a fragment", fragment, masked("\x00\x98", decoys), 1007, 0},
	{"ends mid-rune", masked("\x01\x82", "\xf0\x9f"), masked("\x80\x80", ""), 1007, 0},
	{"corrupt", "", masked("\xc2\x99", "\x06"+decoys), 1007, 0},
	{"corrupt in fragments", masked("\x42\x81", "\x06") + masked("\x89\x81", "p"), masked("\x80\x98", decoys), 1007, 0},
	{"inflated text not UTF-8", "", inFrames(0xc1, deflated("abc\xff", 1), 0), 1007, 0},
	{"inflated over the limit", "", inFrames(0xc2, deflated(strings.Repeat("a", 100_000), 1), 0), 1009, 0},

	{"close with one byte", fragment, masked("\x88\x81", "\x03"), 1002, 6},
	{"close with code 1005", "", masked("\x88\x82", "\x03\xed"), 1002, 6},
	{"close reason not UTF-8", "", masked("\x88\x84", "\x03\xe8a\xff"), 1007, 6},
	{"close unmasked", "", "\x88\x02\x03\xe8", 1002, 2},
	{"close fragmented", fragment, masked("\x08\x82", "\x03\xe8"), 1002, 6},
	{"close with RSV1", "", masked("\xc8\x82", "\x03\xe8"), 1002, 6},
	{"close of 144 bytes", "", masked("\x88\xfe\x00\x90", strings.Repeat(decoys, 6)), 1002, 8},
	{"close with the top bit", "", masked("\x88\xff\x80\x00\x00\x00\x00\x00\x00\x00", ""), 1002, 14},
}

// TestFindCloseAfterAnError has Next fail in every way, with the wire cut at every
// byte.
func TestFindCloseAfterAnError(t *testing.T) {
	for _, c := range failures {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stream %v", c.name, stream), func(t *testing.T) {
				wire := []byte(c.good + c.bad + skipped + closeFrame)
				header := c.header
				switch {
				case header == 0:
					header = len(wire) - 2
				case header > 0:
					header += len(c.good)
				}
				cuts := [][]int{nil, {1}}
				for at := range len(wire) {
					cuts = append(cuts, []int{at + 1, len(wire)})
				}
				for _, cut := range cuts {
					for _, reads := range [][]int{nil, {1}} {
						d := ws.Decoder{MaxMessage: 40, MaxEmptyFragments: 2, Stream: stream, Deflate: true}
						fresh := d
						from, code := failing(t, &d, wire, cut, -1)
						if code != c.code || from > len(c.good+c.bad) {
							t.Fatalf("reads of %v: error %d at %d", cut, code, from)
						}
						seeking(t, &d, wire, from, header, reads...)
						if d.Reset(); !d.Idle() || !reflect.DeepEqual(d, fresh) {
							t.Fatalf("after Reset: %+v", d)
						}
					}
				}
			})
		}
	}
}

// TestFindCloseWithoutAnError has the server fail for its own reasons at every
// byte and behind every message, or piece of one.
func TestFindCloseWithoutAnError(t *testing.T) {
	story := strings.Repeat("0123456789abcdef", 1<<12) // two pieces
	wire := []byte(masked("\x82\x98", decoys) + masked("\x89\x98", zeros) + masked("\x02\x98", zeros) + masked("\x8a\x98", decoys) +
		masked("\x00\x80", "") + masked("\x80\xfe\x00\x90", strings.Repeat(decoys, 6)) +
		inFrames(0xc1, deflated(story, 1), 40) + masked("\x42\x98", decoys) + closeFrame)
	for _, stream := range []bool{false, true} {
		for _, cut := range [][]int{nil, {1}, {2}, {7}, {100, 1}} {
			given := false
			for calls := 0; !given; calls++ {
				for _, reads := range [][]int{nil, {1}} {
					d := ws.Decoder{Stream: stream, Deflate: true}
					from, code := failing(t, &d, wire, cut, calls)
					if code != 0 {
						t.Fatalf("reads of %v: error %d", cut, code)
					}
					header := len(wire) - 2
					if given = from == len(wire); given {
						header = -1
					}
					seeking(t, &d, wire, from, header, reads...)
				}
			}
		}
	}
}

func TestFindCloseAllocates(t *testing.T) {
	reads := split([]byte(skipped+closeFrame), []int{7})
	got := testing.AllocsPerRun(100, func() {
		var d ws.Decoder
		found := false
		for _, in := range reads {
			found = d.FindClose(in)
		}
		if !found {
			t.Fatal("not found")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestDecoderTaken(t *testing.T) {
	compressed := inFrames(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 0)
	steps := []struct {
		name  string
		in    string
		taken int64
	}{
		{"whole, in one frame", masked("\x81\x83", "abc"), 0},
		{"half a header", "\x02", 0},
		{"the other half", "\x85\x00\x00\x00\x00", 0},
		{"bytes of a frame", "ab", 2},
		{"its end", "cde", 5},
		{"an empty fragment", masked("\x00\x80", ""), 5},
		{"a ping", masked("\x89\x83", "abc"), 5},
		{"half a ping", masked("\x89\x83", "a"), 5},
		{"the other half, and a fragment", "bc" + masked("\x00\x82", "fg"), 7},
		{"the last fragment and a whole message", masked("\x80\x81", "h") + masked("\x82\x81", "a"), 8},
		{"a compressed message", compressed, 15},
		{"half a message", masked("\x81\x84", "ab"), 17},
		{"not UTF-8", "\xff", 18},
	}
	for _, stream := range []bool{false, true} {
		d := ws.Decoder{Stream: stream, Deflate: true}
		for _, s := range steps {
			decode(t, &d, []byte(s.in))
			if got := d.Taken(); got != s.taken {
				t.Errorf("%s, stream %v: %d bytes taken, not %d", s.name, stream, got, s.taken)
			}
		}
		if d.Reset(); d.Taken() != 0 {
			t.Errorf("%d bytes taken after Reset", d.Taken())
		}
	}
}

// closeBehind walks wire frame by frame and gives where the header ends of the
// first close frame that ends behind the byte at; -1 if there is none.
func closeBehind(wire []byte, at int) (header int) {
	for start := 0; len(wire)-start >= 2; {
		header, length := start+2, uint64(wire[start+1]%128)
		if more := map[uint64]int{126: 2, 127: 8}[length]; more > 0 {
			header, length = header+more, 0
			for _, c := range wire[min(start+2, len(wire)):min(header, len(wire))] {
				length = length*256 + uint64(c)
			}
		}
		if wire[start+1] >= 128 {
			header += 4
		}
		if header > len(wire) {
			return -1
		}
		toCome := length > uint64(len(wire)-header)
		if wire[start]%16 == 8 && (toCome || header+int(length) > at) {
			return header
		}
		if toCome {
			return -1
		}
		start = header + int(length)
	}
	return -1
}

// FuzzFindClose has arbitrary bytes fail in Next, or a server for its own reasons
// after some calls of it, and holds where FindClose finds the close frame, in
// arbitrary reads, to a walk from frame to frame.
func FuzzFindClose(f *testing.F) {
	for _, c := range failures {
		f.Add([]byte(c.good+c.bad+masked("\x89\x98", decoys)+closeFrame), []byte{2, 5, 0, 40}, uint8(255))
		f.Add([]byte(c.good+c.bad+closeFrame+closeFrame), []byte{1}, uint8(2))
	}
	f.Add([]byte(skipped+closeFrame), []byte{6}, uint8(0))
	f.Add([]byte(closeFrame+"\x88\x81"+closeFrame), []byte{0}, uint8(5))
	f.Fuzz(func(t *testing.T, wire, sizes []byte, calls uint8) {
		wire = wire[:min(len(wire), 1024)]
		var reads []int
		for _, size := range sizes {
			reads = append(reads, int(size)+1)
		}
		limits := ws.Decoder{MaxMessage: 40, MaxEmptyFragments: 2, Deflate: true}
		one := limits
		good := decode(t, &one, wire, 1).good
		for _, cut := range [][]int{nil, {1}, reads} {
			for _, then := range [][]int{nil, {1}, slices.Concat(reads, []int{3})} {
				d := limits
				d.Stream = len(cut) == 1
				from, code := failing(t, &d, wire, cut, int(calls))
				behind := from
				if code != 0 {
					behind = good
				}
				seeking(t, &d, wire, from, closeBehind(wire, behind), then...)
			}
		}
	})
}
