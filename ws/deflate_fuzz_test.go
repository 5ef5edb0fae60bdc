package ws_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/ws"
)

// stdlibMessage is puffMessage by the standard library's codec.
func stdlibMessage(payload, history string, limit int) (message string, err error) {
	if payload == "" {
		return "", nil
	}
	const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	in := bytes.NewReader([]byte(payload + tail))
	r := flate.NewReaderDict(in, []byte(history))
	var out bytes.Buffer
	for {
		_, err := io.Copy(&out, io.LimitReader(r, int64(limit+1-out.Len())))
		switch {
		case out.Len() > limit:
			return "", errPuffLimit
		case err != nil:
			return "", err
		case in.Len() == 0 || in.Len() == len(tail):
			return out.String(), nil
		}
		r = flate.NewReader(in)
	}
}

// FuzzInflate holds what becomes of arbitrary compressed bytes behind an
// arbitrary context to the standard library, and both to the reference.
func FuzzInflate(f *testing.F) {
	for _, payload := range []string{
		"", "\x00", "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"\xf3\x48\xcd\xc9\xc9\x07\x00", "\x00\x05\x00\xfa\xffHello\x00", "\x03\x00\x03\x00", "\x06", "\x01",
		deflated(story(300, 50), 6), deflated(story(2000, 51), 1), deflated(noise(100, 52), 6), deflated(story(300, 53), 6)[:90],
	} {
		f.Add([]byte(payload), []byte("Hello"), uint16(1000), uint8(10))
	}
	f.Fuzz(func(t *testing.T, payload, history []byte, limit uint16, size uint8) {
		payload, history, limit = payload[:min(len(payload), 1000)], history[:min(len(history), 512)], min(max(limit, 1), 4000)
		want, err := stdlibMessage(string(payload), string(history), int(limit))
		slow, _, errSlow := puffMessage(string(payload), string(history), int(limit))
		if (err == nil) != (errSlow == nil) || want != slow || errors.Is(err, errPuffLimit) != errors.Is(errSlow, errPuffLimit) {
			t.Fatalf("the oracles differ: %q, %v and %q, %v", want, err, slow, errSlow)
		}
		code := ws.Code(0)
		switch {
		case errors.Is(err, errPuffLimit):
			code = ws.CodeTooBig
		case err != nil:
			code = ws.CodeInvalidPayload
		}
		wire := []byte(inFrames(0xc2, string(payload), int(size)))
		for _, stream := range []bool{false, true} {
			d := ws.Decoder{MaxMessage: int64(limit), Stream: stream, Deflate: true, Window: &ws.Window{Bits: 9}}
			d.Window.Add(history)
			got := decode(t, &d, wire, int(size)+1)
			if got.code != code || code == 0 && !slices.Equal(got.events, []event{{ws.Binary, want}}) {
				t.Fatalf("stream %v: %q, error %d; wanted %q, error %d", stream, got.events, got.code, want, code)
			}
			d.Reset()
			d.Window.Free()
			d.Window.Add(history)
			wire[0] ^= byte(ws.Text ^ ws.Binary)
			got = decode(t, &d, bytes.Clone(wire), int(size)+1)
			if good := code == 0 && utf8.ValidString(want); good != (got.code == 0) || good && got.events[0].payload != want {
				t.Fatalf("stream %v, as text: %q, error %d", stream, got.events, got.code)
			}
			wire[0] ^= byte(ws.Text ^ ws.Binary)
		}
	})
}

// FuzzDeflater compresses arbitrary messages with arbitrary parameters, as two
// connections do that drop some, and has the standard library and our own
// decoder read them.
func FuzzDeflater(f *testing.F) {
	f.Add([]byte(story(900, 60)), []byte(story(1200, 60)), uint8(1), uint8(15), true, uint8(0))
	f.Add([]byte(story(2000, 61)), []byte(story(100, 61)), uint8(9), uint8(8), true, uint8(3))
	f.Add([]byte(noise(500, 62)), []byte(""), uint8(6), uint8(10), false, uint8(200))
	f.Fuzz(func(t *testing.T, one, two []byte, level, bits uint8, takeover bool, size uint8) {
		z := ws.Deflater{Level: int(level % 12), Threshold: int(size) - 1, WindowBits: 8 + int(bits%8)}
		var w *ws.Window
		d := ws.Decoder{Deflate: true}
		if takeover {
			w, d.Window = &ws.Window{Bits: z.WindowBits}, &ws.Window{Bits: z.WindowBits}
		}
		context := ""
		for i, content := range [][]byte{one, two, one, append(two, one...)} {
			key := [4]byte{size, level, bits, 1}
			frame, compressed := z.AppendMaskedFrame(nil, ws.Binary, content, key, w)
			if i == 1 && size%2 == 0 {
				continue // dropped
			}
			got := decode(t, &d, frame, int(size)+1)
			if got.code != 0 || !slices.Equal(got.events, []event{{ws.Binary, string(content)}}) {
				t.Fatalf("message %d: %d events, error %d", i, len(got.events), got.code)
			}
			d.Release()
			if !compressed {
				continue
			}
			plain, _ := z.AppendFrame(nil, ws.Binary, content, w)
			theirs, err := stdlibMessage(compressedPayload(t, plain, ws.Binary), context, len(content))
			if err != nil || theirs != string(content) || len(plain) > len(ws.AppendFrame(nil, ws.Binary, content)) {
				t.Fatalf("message %d: %d bytes, the standard library gives %d, %v", i, len(plain), len(theirs), err)
			}
			if takeover {
				w.Add(content)
				context += string(content)
				context = context[max(0, len(context)-1<<z.WindowBits):]
			}
		}
	})
}

// FuzzDecoderDeflate decodes arbitrary bytes of a connection with
// permessage-deflate, which must give the same in whatever reads they come and
// however messages are given, and may hold only so much memory.
func FuzzDecoderDeflate(f *testing.F) {
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for _, wire := range []string{
		inFrames(0xc1, hello, 0) + inFrames(0xc1, "\xf2\x00\x11\x00\x00", 2),
		masked("\x41\x83", hello[:3]) + masked("\x89\x81", "p") + masked("\x80\x84", hello[3:]),
		masked("\x81\x83", "abc") + masked("\xc2\x80", "") + inFrames(0xc2, deflated(story(700, 70), 6), 40),
		inFrames(0xc1, deflated(strings.Repeat("€", 3000), 9), 5) + masked("\x88\x82", "\x03\xe8"),
		masked("\xc1\x81", "\x06"), "\xe1", "\xc0", "\xc9", masked("\x01\x81", "a") + "\xc0\x80",
	} {
		f.Add([]byte(wire), []byte{2, 5, 1, 40}, uint16(5000))
		f.Add([]byte(wire), []byte{1}, uint16(4))
	}
	f.Fuzz(func(t *testing.T, wire, sizes []byte, limit uint16) {
		wire, limit = wire[:min(len(wire), 4096)], max(limit, 1)
		reads := []int{}
		for _, size := range sizes {
			reads = append(reads, int(size)+1)
		}
		var want *decoded
		for _, reads := range [][]int{nil, {1}, reads} {
			for _, stream := range []bool{false, true} {
				d := ws.Decoder{MaxMessage: int64(limit), MaxEmptyFragments: 3, Stream: stream, Deflate: true, Window: &ws.Window{Bits: 10}}
				got := decode(t, &d, wire, reads...)
				if want == nil {
					want = &got
				}
				if got.code != want.code || !slices.Equal(got.events, want.events) {
					t.Fatalf("reads of %v, stream %v: %v, error %d\nwanted %v, error %d", reads, stream, got.events, got.code, want.events, want.code)
				}
				d.Release()
				if held := d.Buffered(); held > 2*len(wire)+4*512+(36+32)<<10 || d.Window.Held() > 1024 {
					t.Fatalf("%d bytes held of %d", held, len(wire))
				}
				d.Reset()
				d.Window.Free()
			}
		}
	})
}
