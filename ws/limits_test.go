package ws_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestDecoderTakesExactlyTheLimit(t *testing.T) {
	payload := bytes.Repeat([]byte("x"), ws.DefaultMaxMessage)
	for _, reads := range [][]int{nil, {100_000}} {
		var d ws.Decoder
		got := decode(t, &d, clientFrame(0x82, payload), reads...)
		if got.code != 0 || len(got.events) != 1 || got.events[0].payload != string(payload) {
			t.Errorf("reads of %v: %d messages, error %d", reads, len(got.events), got.code)
		}
	}
}

// TestDecoderLimitOverFragments has the header of the frame that would exceed
// the limit refused, before any of its payload.
func TestDecoderLimitOverFragments(t *testing.T) {
	for _, stream := range []bool{false, true} {
		fits := fragment + masked("\x89\xfd", ping125) + masked("\x00\x86", "cdefgh")
		d := ws.Decoder{MaxMessage: 10, Stream: stream}
		got := decode(t, &d, []byte(fits+masked("\x80\x82", "ij")), 1)
		want := []event{{ws.Ping, ping125}, {ws.Text, "abcdefghij"}}
		if got.code != 0 || !slices.Equal(got.events, want) {
			t.Errorf("stream %v: %v, error %d", stream, got.events, got.code)
		}
		got = decode(t, &ws.Decoder{MaxMessage: 10, Stream: stream}, []byte(fits+"\x00\x83"), 1)
		if got.code != ws.CodeTooBig || got.good != len(fits)+1 {
			t.Errorf("stream %v: error %d after %d bytes of %d", stream, got.code, got.good, len(fits)+1)
		}
	}
}

func TestDecoderEmptyFragmentsUpToTheLimit(t *testing.T) {
	d := ws.Decoder{MaxEmptyFragments: 3}
	message := masked("\x01\x80", "") + masked("\x00\x80", "") + masked("\x00\x81", "a") + masked("\x80\x80", "")
	got := decode(t, &d, []byte(message+message+masked("\x81\x80", "")))
	if got.code != 0 || len(got.events) != 3 {
		t.Errorf("%v, error %d", got.events, got.code)
	}
}

// TestDecoderMemory holds what is buffered to twice of what has arrived, and
// lets go of it with the message.
func TestDecoderMemory(t *testing.T) {
	const large = 3 << 20
	payload := bytes.Repeat([]byte("x"), large)
	fragments := clientFrame(0x02, payload[:1])
	for range ws.DefaultMaxMessage - 2 {
		fragments = append(fragments, 0x00, 0x81, 0, 0, 0, 0, 'x')
	}
	fragments = append(fragments, 0x80, 0x81, 0, 0, 0, 0, 'x')
	cases := []struct {
		name    string
		max     int64
		wire    []byte
		read    int
		payload int
	}{
		{"1 MiB in fragments of a byte", 0, fragments, 4096, ws.DefaultMaxMessage},
		{"3 MiB in one frame", large, clientFrame(0x82, payload), 1000, large},
		{"one frame, byte by byte", 0, clientFrame(0x82, payload[:5000]), 1, 5000},
	}
	for _, c := range cases {
		d := ws.Decoder{MaxMessage: c.max}
		arrived, done := 0, 0
		for _, in := range split(c.wire, []int{c.read}) {
			arrived += len(in)
			m, _, err := d.Next(in)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if held := d.Buffered(); held > max(512, 2*min(arrived, c.payload)) {
				t.Fatalf("%s: %d bytes held after %d have arrived", c.name, held, arrived)
			}
			done += len(m.Payload)
		}
		if d.Release(); done != c.payload || d.Buffered() != 0 || !d.Idle() {
			t.Errorf("%s: %d bytes given, %d still held", c.name, done, d.Buffered())
		}
	}
}

// TestDecoderHeldBytes looks at every point where a buffer is taken or freed.
func TestDecoderHeldBytes(t *testing.T) {
	var d ws.Decoder
	steps := []struct {
		name string
		in   string
		op   ws.Opcode
		held int
	}{
		{"half a header", "\x81\xfe", 0, 0},
		{"header of 65,535 bytes", "\xff\xff\x00\x00\x00\x00", 0, 0},
		{"its first byte", "a", 0, 512},
		{"600 more", string(make([]byte, 600)), 0, 1024},
		{"the rest", string(make([]byte, 65535-601)), ws.Text, 65536},
		{"the next message", masked("\x81\x80", ""), ws.Text, 0},
		{"a fragment", fragment, 0, 512},
		{"a ping's header", masked("\x89\x82", ""), 0, 512},
		{"its first byte", "a", 0, 1024},
		{"the ping's end", "b", ws.Ping, 1024},
		{"nothing", "", 0, 512},
		{"the message's end", masked("\x80\x81", "c"), ws.Text, 512},
		{"nothing", "", 0, 0},
	}
	for _, s := range steps {
		m, _, err := d.Next([]byte(s.in))
		if err != nil || m.Opcode != s.op || d.Buffered() != s.held {
			t.Errorf("%s: %v, %d bytes held instead of %d, error %v", s.name, m.Opcode, d.Buffered(), s.held, err)
		}
	}
}

// TestDecoderAllocates nothing for whole frames, nor for a header that claims a
// huge payload.
func TestDecoderAllocates(t *testing.T) {
	wire := append(clientFrame(0x81, bytes.Repeat([]byte("é"), 100)), clientFrame(0x89, []byte("ping"))...)
	in := make([]byte, len(wire))
	got := testing.AllocsPerRun(100, func() {
		copy(in, wire)
		var d ws.Decoder
		_, rest, err := d.Next(in)
		if _, _, err2 := d.Next(rest); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations for two whole frames", got)
	}
	huge := []byte("\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00")
	got = testing.AllocsPerRun(100, func() {
		var d ws.Decoder
		if _, _, err := d.Next(huge); err == nil || d.Buffered() != 0 {
			t.Fatal("2^62 bytes accepted")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations for a refused header", got)
	}
}
