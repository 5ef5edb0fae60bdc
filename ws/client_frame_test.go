package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"github.com/millrace/millrace/ws"
)

// TestAppendMaskedFrame compares each size and key with a frame that is written
// out by hand, and gives it to the decoder.
func TestAppendMaskedFrame(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d} // of clientFrame
	for _, n := range []int{0, 1, 3, 4, 15, 16, 17, 33, 125, 126, 127, 65535, 65536, 100_000} {
		payload := bytes.Repeat([]byte("0123456789abcde"), n/15+1)[:n]
		kept := bytes.Clone(payload)
		for _, room := range []int{0, n + 20} {
			dst := append(make([]byte, 0, room+6), "before"...)
			got := ws.AppendMaskedFrame(dst, ws.Text, true, payload, key)
			if want := append([]byte("before"), clientFrame(0x81, kept)...); !bytes.Equal(got, want) {
				t.Errorf("%d bytes: %.40x\nwanted %.40x", n, got, want)
			}
			if !bytes.Equal(payload, kept) {
				t.Fatalf("%d bytes: the payload has changed", n)
			}
		}
		wire := ws.AppendMaskedFrame(nil, ws.Binary, false, payload, [4]byte{1, 2, 3, 4})
		wire = ws.AppendMaskedFrame(wire, ws.Ping, true, payload[:min(n, ws.MaxControlPayload)], [4]byte{})
		wire = ws.AppendMaskedFrame(wire, ws.Continuation, true, payload, [4]byte{0xff, 0, 0xff, 0})
		got := decode(t, &ws.Decoder{}, wire)
		text := string(payload)
		if got.code != 0 || len(got.events) != 2 || got.events[0] != (event{ws.Ping, text[:min(n, 125)]}) || got.events[1] != (event{ws.Binary, text + text}) {
			t.Errorf("%d bytes: %v, error %d", n, got.events, got.code)
		}
	}
}

var serverHeaders = []struct {
	name, wire string
	want       ws.FrameHeader
	size       int
	wrong      string // in the reason of the error
}{
	{"empty text", "\x81\x00", ws.FrameHeader{Fin: true, Opcode: ws.Text}, 2, ""},
	{"first fragment", "\x02\x05abcde", ws.FrameHeader{Opcode: ws.Binary, Length: 5}, 2, ""},
	{"last fragment", "\x80\x7d", ws.FrameHeader{Fin: true, Length: 125}, 2, ""},
	{"middle fragment", "\x00\x01", ws.FrameHeader{Length: 1}, 2, ""},
	{"least in 2 bytes", "\x82\x7e\x00\x7e", ws.FrameHeader{Fin: true, Opcode: ws.Binary, Length: 126}, 4, ""},
	{"most in 2 bytes", "\x82\x7e\xff\xff", ws.FrameHeader{Fin: true, Opcode: ws.Binary, Length: 65535}, 4, ""},
	{"least in 8 bytes", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", ws.FrameHeader{Fin: true, Opcode: ws.Binary, Length: 65536}, 10, ""},
	{"most in 8 bytes", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", ws.FrameHeader{Fin: true, Opcode: ws.Binary, Length: 1<<63 - 1}, 10, ""},
	{"ping", "\x89\x00", ws.FrameHeader{Fin: true, Opcode: ws.Ping}, 2, ""},
	{"longest pong", "\x8a\x7d", ws.FrameHeader{Fin: true, Opcode: ws.Pong, Length: 125}, 2, ""},
	{"close", "\x88\x02\x03\xe8", ws.FrameHeader{Fin: true, Opcode: ws.Close, Length: 2}, 2, ""},

	{"RSV1", "\xc1\x00", ws.FrameHeader{}, 0, "reserved bit"},
	{"RSV2", "\xa1\x00", ws.FrameHeader{}, 0, "reserved bit"},
	{"RSV3", "\x91\x00", ws.FrameHeader{}, 0, "reserved bit"},
	{"opcode 3", "\x83\x00", ws.FrameHeader{}, 0, "reserved opcode"},
	{"opcode 7", "\x07\x00", ws.FrameHeader{}, 0, "reserved opcode"},
	{"opcode 11", "\x8b\x00", ws.FrameHeader{}, 0, "reserved opcode"},
	{"opcode 15", "\x8f\x00", ws.FrameHeader{}, 0, "reserved opcode"},
	{"masked", "\x81\x80", ws.FrameHeader{}, 0, "masked"},
	{"masked, long", "\x81\xff", ws.FrameHeader{}, 0, "masked"},
	{"fragmented ping", "\x09\x00", ws.FrameHeader{}, 0, "fragmented control"},
	{"fragmented close", "\x08\x00", ws.FrameHeader{}, 0, "fragmented control"},
	{"ping of 126 bytes", "\x89\x7e", ws.FrameHeader{}, 0, "over 125"},
	{"close of many bytes", "\x88\x7f", ws.FrameHeader{}, 0, "over 125"},
	{"125 in 2 bytes", "\x82\x7e\x00\x7d", ws.FrameHeader{}, 0, "length"},
	{"0 in 2 bytes", "\x82\x7e\x00\x00", ws.FrameHeader{}, 0, "length"},
	{"65535 in 8 bytes", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", ws.FrameHeader{}, 0, "length"},
	{"1 in 8 bytes", "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01", ws.FrameHeader{}, 0, "length"},
	{"2^63", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", ws.FrameHeader{}, 0, "length"},
	{"most of all", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", ws.FrameHeader{}, 0, "length"},
}

func TestParseServerHeader(t *testing.T) {
	for _, c := range serverHeaders {
		t.Run(c.name, func(t *testing.T) {
			whole := max(c.size, 2)
			if c.wrong != "" {
				whole = len(c.wire)
			}
			for n := range whole {
				if h, size, err := ws.ParseServerHeader([]byte(c.wire[:n])); h != (ws.FrameHeader{}) || size != 0 || err != nil {
					t.Errorf("first %d bytes: %+v of %d bytes, %v; want more", n, h, size, err)
				}
			}
			for _, wire := range []string{c.wire, c.wire + "\x00\xff and more"} {
				h, size, err := ws.ParseServerHeader([]byte(wire))
				if h != c.want || size != c.size {
					t.Errorf("%+v of %d bytes, want %+v of %d", h, size, c.want, c.size)
				}
				checkHeaderError(t, err, c.wrong)
			}
		})
	}
}

func checkHeaderError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var closed *ws.CloseError
	if !errors.As(err, &closed) || closed.Code != ws.CodeProtocolError || closed.Remote || !strings.Contains(closed.Reason, want) {
		t.Errorf("error %v, want 1002 with %q", err, want)
	}
}

// TestParseServerHeaderAgainstGobwas goes through all first two bytes, with some
// of all lengths behind them.
func TestParseServerHeaderAgainstGobwas(t *testing.T) {
	for start := range 1 << 16 {
		for _, length := range []string{
			"\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x7d\x00\x00\x00\x00\x00\x00", "\x00\x7e\x00\x00\x00\x00\x00\x00",
			"\x00\x00\x00\x00\x00\x00\xff\xff", "\x00\x00\x00\x00\x00\x01\x00\x00", "\x80\x00\x00\x00\x00\x00\x00\x00", "\x01",
		} {
			compareServerHeader(t, append([]byte{byte(start >> 8), byte(start)}, length...))
		}
	}
}

// compareServerHeader wants ParseServerHeader to take what gobwas's ReadHeader
// and CheckHeader take if its length is in the shortest form, and nothing else.
func compareServerHeader(t *testing.T, wire []byte) {
	t.Helper()
	h, n, err := ws.ParseServerHeader(wire)
	reader := bytes.NewReader(wire)
	want, wrong := gobwas.ReadHeader(reader)
	size := len(wire) - reader.Len()
	if n == 0 && err == nil {
		if wrong == nil {
			t.Fatalf("%x: wants more; gobwas has %+v of %d bytes", wire, want, size)
		}
		return
	}
	state := gobwas.StateClientSide
	if want.OpCode == gobwas.OpContinuation {
		state |= gobwas.StateFragmented
	}
	if wrong == nil {
		wrong = gobwas.CheckHeader(want, state)
	}
	if wrong == nil && gobwas.HeaderSize(want) != size {
		wrong = errors.New("not the shortest form")
	}
	if (wrong == nil) != (err == nil) {
		t.Fatalf("%x: error %v; gobwas says %v", wire, err, wrong)
	}
	if err == nil && (n != size || h != ws.FrameHeader{Fin: want.Fin, Opcode: ws.Opcode(want.OpCode), Length: want.Length}) {
		t.Fatalf("%x: %+v of %d bytes; gobwas has %+v of %d", wire, h, n, want, size)
	}
}

// TestParseServerHeaderReadsOurFrames holds the two ends to each other.
func TestParseServerHeaderReadsOurFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		for _, fin := range []bool{false, true} {
			wire := ws.AppendFragment(nil, ws.Binary, fin, make([]byte, n))
			h, size, err := ws.ParseServerHeader(wire)
			if err != nil || size+n != len(wire) || h != (ws.FrameHeader{Fin: fin, Opcode: ws.Binary, Length: int64(n)}) {
				t.Errorf("%d bytes, fin %v: %+v of %d bytes, %v", n, fin, h, size, err)
			}
		}
	}
	h, size, err := ws.ParseServerHeader(ws.AppendClose(nil, ws.CodeNormal, "bye"))
	if err != nil || size != 2 || h != (ws.FrameHeader{Fin: true, Opcode: ws.Close, Length: 5}) {
		t.Errorf("close: %+v of %d bytes, %v", h, size, err)
	}
}

func TestClientFramesAllocateNothing(t *testing.T) {
	dst, payload := make([]byte, 0, 256), make([]byte, 200)
	var headers [][]byte
	for _, c := range serverHeaders {
		headers = append(headers, []byte(c.wire))
	}
	if got := testing.AllocsPerRun(100, func() {
		ws.AppendMaskedFrame(dst, ws.Binary, true, payload, [4]byte{1, 2, 3, 4})
	}); got != 0 {
		t.Errorf("AppendMaskedFrame: %v allocations", got)
	}
	if got := testing.AllocsPerRun(100, func() {
		for _, h := range headers {
			_, _, _ = ws.ParseServerHeader(h)
		}
	}); got != 0 {
		t.Errorf("ParseServerHeader: %v allocations", got)
	}
}

func BenchmarkAppendMaskedFrame(b *testing.B) {
	for _, n := range []int{64, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("%d B", n), func(b *testing.B) {
			b.ReportAllocs()
			payload, dst := make([]byte, n), make([]byte, 0, n+14)
			for b.Loop() {
				dst = ws.AppendMaskedFrame(dst[:0], ws.Text, true, payload, [4]byte{1, 2, 3, 4})
			}
		})
	}
}

func BenchmarkParseServerHeader(b *testing.B) {
	b.ReportAllocs()
	wire := ws.AppendFrame(nil, ws.Text, make([]byte, 64))
	for b.Loop() {
		if _, n, err := ws.ParseServerHeader(wire); n != 2 || err != nil {
			b.Fatal(n, err)
		}
	}
}
