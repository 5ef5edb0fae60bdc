package ws_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/ws"
)

// FuzzDecoder holds arbitrary bytes in arbitrary reads to the reference: the
// same messages, the same error, in whole and in streamed messages.
func FuzzDecoder(f *testing.F) {
	for _, wire := range []string{
		masked("\x81\x83", "abc"),
		"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x82\x80\x01\x02\x03\x04",
		masked("\x81\xfe\x00\x7e", text126),
		fragment + masked("\x89\x82", "pi") + masked("\x00\x80", "") + masked("\x80\x81", "c"),
		masked("\x01\x83", "a\xe2\x82") + masked("\x80\x81", "\xac") + masked("\x88\x84", "\x03\xe8ok"),
		masked("\x02\x80", "") + masked("\x00\x80", "") + masked("\x00\x80", "") + masked("\x00\x80", ""),
		"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
		masked("\x81\x84", "\xf4\x90\x80\x80"),
		masked("\x88\x81", "a"),
	} {
		f.Add([]byte(wire), []byte{1}, uint16(1000))
		f.Add([]byte(wire), []byte{2, 5, 1, 40}, uint16(3))
	}
	f.Fuzz(func(t *testing.T, wire, sizes []byte, limit uint16) {
		const maxEmpty = 3
		wire = wire[:min(len(wire), 2048)]
		limit = max(limit, 1)
		want := reference{maxMessage: int(limit), maxEmpty: maxEmpty}
		good := want.decode(wire)

		var reads []int
		for _, size := range sizes {
			reads = append(reads, int(size)+1)
		}
		for _, reads := range [][]int{nil, {1}, reads} {
			for _, stream := range []bool{false, true} {
				d := ws.Decoder{MaxMessage: int64(limit), MaxEmptyFragments: maxEmpty, Stream: stream}
				got := decode(t, &d, wire, reads...)
				if got.code != want.code || !slices.Equal(got.events, want.events) {
					t.Fatalf("reads of %v, stream %v: %v, error %d\nwanted %v, error %d",
						reads, stream, got.events, got.code, want.events, want.code)
				}
				if len(reads) == 1 && reads[0] == 1 && got.good != good {
					t.Fatalf("byte %d refused, not %d", got.good, good)
				}
				if held := d.Buffered(); held > 2*len(wire)+2*512 {
					t.Fatalf("%d bytes held of %d", held, len(wire))
				}
			}
		}
	})
}

// FuzzUTF8 sends text in arbitrary frames and reads, and wants it refused
// exactly when utf8.Valid refuses it, at the byte the table of RFC 3629 says.
func FuzzUTF8(f *testing.F) {
	for _, text := range []string{
		"", "ascii only", "κόσμε", "\U0001f600\U0010ffff", "a\x80", "\xc0\xaf", "\xe0\x80\xaf",
		"\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x9f\x98", "0123456789abcdef\xe2\x82\xac0123456789\xff",
	} {
		f.Add([]byte(text), []byte{3}, []byte{1})
		f.Add([]byte(text), []byte{1, 2}, []byte{5, 9})
	}
	for _, script := range scripts {
		for _, wrong := range wrongUTF8 {
			text := append(scriptText(script.text, 61), wrong...)
			f.Add(append(text, scriptText(script.text, 37)...), []byte{60, 4}, []byte{31, 33})
			f.Add(text, []byte{}, []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, text, frames, sizes []byte) {
		text = text[:min(len(text), 1024)]
		atMemoryEnd(t, text)
		frames = frames[:min(len(frames), 100)] // well below MaxEmptyFragments
		wire := inFragments(text, frames)
		reads := []int{}
		for _, size := range sizes {
			reads = append(reads, int(size)+1)
		}
		got := decode(t, &ws.Decoder{}, wire, reads...)
		valid := got.code == 0 && len(got.events) == 1 && got.events[0].payload == string(text)
		if valid != utf8.Valid(text) || !valid && got.code != ws.CodeInvalidPayload {
			t.Fatalf("%q: %v, error %d", text, got.events, got.code)
		}
		got = decode(t, &ws.Decoder{}, clientFrame(0x01, text), 1)
		first := len(text)
		for n := range text {
			if dfa(text[:n+1]) == dfaBad {
				first = n
				break
			}
		}
		if at := got.good - (len(clientFrame(0x01, text)) - len(text)); at != first {
			t.Fatalf("%q: refused at byte %d, not %d", text, at, first)
		}
	})
}

// atMemoryEnd holds a message in one read, where the memory ends, to utf8.Valid.
func atMemoryEnd(t *testing.T, text []byte) {
	in, release := guarded(t, clientFrame(0x81, text))
	defer release()
	var d ws.Decoder
	m, _, err := d.Next(in)
	if taken := err == nil && m.Opcode == ws.Text && string(m.Payload) == string(text); taken != utf8.Valid(text) {
		t.Fatalf("%q, where the memory ends: %v, error %v", text, m, err)
	}
}

// inFragments sends text as one message in frames of the given sizes, the last
// one with all that remains.
func inFragments(text, sizes []byte) (wire []byte) {
	first := byte(0x01)
	for _, size := range sizes {
		n := min(int(size), len(text))
		wire = append(wire, clientFrame(first, text[:n])...)
		text = text[n:]
		first = 0
	}
	return append(wire, clientFrame(first|0x80, text)...)
}

// FuzzClosePayload holds what the decoder lets through to the list of codes and
// to utf8.Valid, and ParseClose to what was sent.
func FuzzClosePayload(f *testing.F) {
	for _, payload := range []string{"", "\x03", "\x03\xe8", "\x03\xe8bye", "\x03\xed", "\x13\x88", "\x03\xf4\xff", "\x0b\xb8\xe2\x82\xac"} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		payload = payload[:min(len(payload), 125)]
		want := referenceClose(payload)
		for _, read := range []int{1, 200} {
			got := decode(t, &ws.Decoder{}, clientFrame(0x88, payload), read)
			if got.code != want {
				t.Fatalf("%q: error %d, not %d", payload, got.code, want)
			}
		}
		if want != 0 {
			return
		}
		code, reason := ws.ParseClose(payload)
		if len(payload) == 0 {
			if code != ws.CodeNoStatus || reason != "" {
				t.Fatalf("empty: %d %q", code, reason)
			}
			return
		}
		if code != ws.Code(binary.BigEndian.Uint16(payload)) || reason != string(payload[2:]) {
			t.Fatalf("%q: %d %q", payload, code, reason)
		}
		if frame := ws.AppendClose(nil, code, reason); string(frame[2:]) != string(payload) {
			t.Fatalf("%q is echoed as %q", payload, frame)
		}
	})
}
