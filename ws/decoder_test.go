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

// decoded is what came out of a decoder.
type decoded struct {
	events []event
	code   ws.Code // of the error, if any
	good   int     // bytes of the reads before the one that failed
}

// decode gives wire to d in reads of the given sizes, the last size again and
// again. The pieces of a streamed message become one event.
func decode(t testing.TB, d *ws.Decoder, wire []byte, reads ...int) (r decoded) {
	t.Helper()
	var streamed []byte
	for _, in := range split(wire, reads) {
		read := len(in)
		for {
			m, rest, err := d.Next(in)
			if failed, ok := errors.AsType[*ws.CloseError](err); ok {
				r.code = failed.Code
				return r
			}
			if m.Opcode == 0 {
				if len(rest) > 0 {
					t.Fatalf("%d bytes left over without a message", len(rest))
				}
				break
			}
			in = rest
			if m.Opcode < ws.Close {
				streamed = append(streamed, m.Payload...)
				if m.More {
					continue
				}
				m.Payload, streamed = streamed, nil
			}
			r.events = append(r.events, event{m.Opcode, string(m.Payload)})
		}
		r.good += read
	}
	return r
}

// split cuts a copy of wire into reads.
func split(wire []byte, sizes []int) (reads [][]byte) {
	wire = bytes.Clone(wire)
	for i := 0; len(wire) > 0; i++ {
		n := len(wire)
		if len(sizes) > 0 {
			n = min(n, sizes[min(i, len(sizes)-1)])
		}
		reads = append(reads, wire[:n:n])
		wire = wire[n:]
	}
	return reads
}

// masked is a header as a client may send it, followed by a mask of zeros and
// the payload as it is.
func masked(header, payload string) string {
	return header + "\x00\x00\x00\x00" + payload
}

var (
	text70k  = strings.Repeat("0123456789", 7000)
	text126  = strings.Repeat("a", 126)
	ping125  = strings.Repeat("p", 125)
	fragment = masked("\x01\x82", "ab") // opens a text message
)

func TestDecoderGivesMessages(t *testing.T) {
	cases := []struct {
		name string
		wire string
		want []event
	}{
		{"text", masked("\x81\x83", "abc"), []event{{ws.Text, "abc"}}},
		{"binary", masked("\x82\x83", "\xff\x00\xff"), []event{{ws.Binary, "\xff\x00\xff"}}},
		{"empty text", masked("\x81\x80", ""), []event{{ws.Text, ""}}},
		{"empty binary", masked("\x82\x80", ""), []event{{ws.Binary, ""}}},
		{"RFC 6455, 5.7", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", []event{{ws.Text, "Hello"}}},
		{"16-bit length", masked("\x81\xfe\x00\x7e", text126), []event{{ws.Text, text126}}},
		{"64-bit length", masked("\x81\xff\x00\x00\x00\x00\x00\x01\x11\x70", text70k), []event{{ws.Text, text70k}}},
		{"two in one read", masked("\x81\x81", "a") + masked("\x82\x81", "b"), []event{{ws.Text, "a"}, {ws.Binary, "b"}}},
		{"fragments", fragment + masked("\x00\x81", "c") + masked("\x80\x81", "d"), []event{{ws.Text, "abcd"}}},
		{"empty fragments", masked("\x02\x80", "") + masked("\x00\x80", "") + masked("\x80\x80", ""), []event{{ws.Binary, ""}}},
		{"first fragment empty", masked("\x01\x80", "") + masked("\x80\x82", "ab"), []event{{ws.Text, "ab"}}},
		{"last fragment empty", fragment + masked("\x80\x80", ""), []event{{ws.Text, "ab"}}},
		{"ping between fragments", fragment + masked("\x89\x81", "p") + masked("\x80\x81", "c"), []event{{ws.Ping, "p"}, {ws.Text, "abc"}}},
		{"longest ping", masked("\x89\xfd", ping125), []event{{ws.Ping, ping125}}},
		{"pong", masked("\x8a\x80", ""), []event{{ws.Pong, ""}}},
		{"rune across fragments", masked("\x01\x82", "\xf0\x9f") + masked("\x89\x80", "") + masked("\x00\x81", "\x98") + masked("\x80\x81", "\x80"), []event{{ws.Ping, ""}, {ws.Text, "\U0001f600"}}},
		{"close", masked("\x88\x82", "\x03\xe8"), []event{{ws.Close, "\x03\xe8"}}},
		{"empty close", masked("\x88\x80", ""), []event{{ws.Close, ""}}},
	}
	for _, c := range cases {
		for _, stream := range []bool{false, true} {
			for _, reads := range [][]int{nil, {1}, {2}, {3}, {7}, {13, 1}} {
				name := fmt.Sprintf("%s, stream %v, reads of %v", c.name, stream, reads)
				d := ws.Decoder{Stream: stream}
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

// TestDecoderRefuses also checks that the error comes with the last byte of
// wire, neither earlier nor only with more bytes.
func TestDecoderRefuses(t *testing.T) {
	empties := func(n int) string {
		return masked("\x01\x80", "") + strings.Repeat(masked("\x00\x80", ""), n-1)
	}
	cases := []struct {
		name string
		wire string
		code ws.Code
	}{
		{"unmasked", "\x81\x03", 1002},
		{"unmasked ping", "\x89\x00", 1002},
		{"RSV1", "\xc1", 1002},
		{"RSV2", "\xa1", 1002},
		{"RSV3", "\x91", 1002},
		{"RSV1 on a ping", "\xc9", 1002},
		{"opcode 3", "\x83", 1002},
		{"opcode 7", "\x87", 1002},
		{"opcode 11", "\x8b", 1002},
		{"opcode 15", "\x8f", 1002},
		{"ping of 126 bytes", "\x89\xfe", 1002},
		{"pong with a 64-bit length", "\x8a\xff", 1002},
		{"fragmented ping", "\x09", 1002},
		{"fragmented close", "\x08", 1002},
		{"continuation first", "\x80", 1002},
		{"continuation behind a message", masked("\x81\x80", "") + "\x00", 1002},
		{"text inside a fragmented message", fragment + "\x81", 1002},
		{"binary inside a fragmented message", fragment + "\x02", 1002},
		{"length with MSB set", "\x82\xff\x80", 1002},
		{"16 bits for 125", "\x82\xfe\x00\x7d", 1002},
		{"16 bits for 0", "\x82\xfe\x00\x00", 1002},
		{"64 bits for 65,535", "\x82\xff\x00\x00\x00\x00\x00\x00", 1002},
		{"length 2^62", "\x82\xff\x40", 1009},
		{"length 2^48", "\x82\xff\x00\x01", 1009},
		{"limit + 1", "\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", 1009},
		{"1,001 empty fragments", empties(1000) + "\x00\x80", 1008},
		{"the last being the 1,001st", empties(1000) + "\x80\x80", 1008},
		{"0x80 in text", masked("\x81\x90", "ab\x80"), 1007},
		{"overlong", masked("\x81\x90", "\xe0\x9f"), 1007},
		{"overlong ASCII", masked("\x81\x90", "\xc0"), 1007},
		{"surrogate", masked("\x81\x90", "\xed\xa0"), 1007},
		{"above U+10FFFF", masked("\x81\x90", "\xf4\x90"), 1007},
		{"0xf5", masked("\x81\x90", "\xf5"), 1007},
		{"ends mid-rune", masked("\x81\x83", "a\xf0\x9f"), 1007},
		{"empty last fragment mid-rune", masked("\x01\x82", "\xf0\x9f") + masked("\x80\x80", ""), 1007},
		{"bad in a fragment", masked("\x01\x82", "\xf0\x9f") + masked("\x00\x90", "a"), 1007},
		{"close with one byte", masked("\x88\x81", "\x03"), 1002},
		{"close reason not UTF-8", masked("\x88\x84", "\x03\xe8a\xff"), 1007},
		{"close reason ends mid-rune", masked("\x88\x84", "\x03\xe8\xe2\x82"), 1007},
	}
	for _, c := range cases {
		for _, stream := range []bool{false, true} {
			if got := decode(t, &ws.Decoder{Stream: stream}, []byte(c.wire)); got.code != c.code {
				t.Errorf("%s, stream %v: code %d, not %d", c.name, stream, got.code, c.code)
			}
			got := decode(t, &ws.Decoder{Stream: stream}, []byte(c.wire), 1)
			if got.code != c.code || got.good != len(c.wire)-1 {
				t.Errorf("%s, byte by byte, stream %v: code %d at byte %d of %d", c.name, stream, got.code, got.good+1, len(c.wire))
			}
		}
	}
}

func TestDecoderGivesWhatIsGoodBeforeAnError(t *testing.T) {
	wire := masked("\x81\x81", "a") + fragment + masked("\x89\x80", "") + "\x82"
	got := decode(t, &ws.Decoder{}, []byte(wire))
	if want := []event{{ws.Text, "a"}, {ws.Ping, ""}}; got.code != 1002 || !slices.Equal(got.events, want) {
		t.Errorf("got %v, error %d", got.events, got.code)
	}
}

// TestDecoderAliasesInput holds the promise that a whole frame is not copied.
func TestDecoderAliasesInput(t *testing.T) {
	for _, op := range []string{"\x81", "\x82", "\x89"} {
		in := []byte(masked(op+"\x83", "abc"))
		var d ws.Decoder
		m, rest, err := d.Next(in)
		if err != nil || len(rest) != 0 || &m.Payload[0] != &in[6] || cap(m.Payload) != 3 {
			t.Errorf("%s: not the bytes of in: %q, %v", m.Opcode, m.Payload, err)
		}
	}
}

func TestDecoderReset(t *testing.T) {
	d := ws.Decoder{MaxMessage: 10, MaxEmptyFragments: 3, Stream: true}
	decode(t, &d, []byte(fragment+masked("\x89\x85", "12")))
	if d.Idle() || d.Buffered() == 0 {
		t.Fatal("idle within a ping within a message")
	}
	d.Reset()
	if want := (ws.Decoder{MaxMessage: 10, MaxEmptyFragments: 3, Stream: true}); !d.Idle() || !reflect.DeepEqual(d, want) {
		t.Errorf("after Reset: %+v", d)
	}
}

func TestDecoderIdle(t *testing.T) {
	for _, wire := range []string{"\x81", "\x81\x83", masked("\x81\x83", ""), masked("\x81\x83", "ab"), fragment, fragment + masked("\x89\x81", "")} {
		var d ws.Decoder
		if decode(t, &d, []byte(wire)); d.Idle() {
			t.Errorf("idle after %q", wire)
		}
	}
}

// TestDecoderSize keeps a busy connection small: 112 bytes are what the
// allocator gives for 97 and more.
func TestDecoderSize(t *testing.T) {
	if size := reflect.TypeFor[ws.Decoder]().Size(); size > 112 {
		t.Errorf("a Decoder has %d bytes", size)
	}
	if size := reflect.TypeFor[ws.Message]().Size(); size > 32 {
		t.Errorf("a Message has %d bytes, more than fit into registers", size)
	}
}
