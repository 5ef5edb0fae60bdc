package ws_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/millrace/millrace/ws"
)

// BenchmarkDecoder counts one operation a message. What is decoded is unmasked
// in place, so each round works on a fresh copy, which is part of the figure.
func BenchmarkDecoder(b *testing.B) {
	text := func(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16) }
	cases := []struct {
		name     string
		wire     []byte
		messages int
		pieces   int
	}{
		{"text 64 B, 16 a read", bytes.Repeat(clientFrame(0x81, text(64)), 16), 16, 1},
		{"binary 1 KiB", clientFrame(0x82, text(1024)), 1, 1},
		{"text 64 KiB", clientFrame(0x81, text(64<<10)), 1, 1},
		{"text 64 KiB in 3 reads", clientFrame(0x81, text(64<<10)), 1, 3},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			in := make([]byte, len(c.wire))
			step := (len(in) + c.pieces - 1) / c.pieces
			var d ws.Decoder
			rounds := 0
			for b.Loop() {
				if rounds++; rounds%c.messages != 0 {
					continue
				}
				copy(in, c.wire)
				got := 0
				for at := 0; at < len(in); at += step {
					got += decodeAll(b, &d, in[at:min(at+step, len(in))])
				}
				if got != c.messages {
					b.Fatalf("%d messages of %d", got, c.messages)
				}
			}
		})
	}
}

// BenchmarkDecoderText counts one operation a message, which lies whole in one
// frame, or comes in two reads. All of it is sent with a mask of zeros, so that
// unmasking, which is in the figure, leaves it as it is.
func BenchmarkDecoderText(b *testing.B) {
	for _, size := range []int{16, 64, 256, 1 << 10, 4 << 10, 64<<10 - 1} {
		for _, script := range scripts {
			text := scriptText(script.text, size)
			in := clientFrame(0x81, text)
			header := in[:len(in)-size]
			clear(header[len(header)-4:])
			copy(in[len(header):], text)
			for reads := 1; reads <= 2; reads++ {
				b.Run(fmt.Sprintf("%s/%d/reads-%d", script.name, size, reads), func(b *testing.B) {
					b.ReportAllocs()
					step := (len(in) + reads - 1) / reads
					var d ws.Decoder
					for b.Loop() {
						got := 0
						for at := 0; at < len(in); at += step {
							got += decodeAll(b, &d, in[at:min(at+step, len(in))])
						}
						if got != 1 {
							b.Fatalf("%d messages", got)
						}
					}
				})
			}
		}
	}
}

func decodeAll(b *testing.B, d *ws.Decoder, in []byte) (messages int) {
	for {
		m, rest, err := d.Next(in)
		if err != nil {
			b.Fatal(err)
		}
		if m.Opcode == 0 {
			return messages
		}
		messages++
		in = rest
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	b.ReportAllocs()
	payload := make([]byte, 64)
	dst := make([]byte, 0, 128)
	for b.Loop() {
		dst = ws.AppendFrame(dst[:0], ws.Text, payload)
	}
}

func BenchmarkAppendClose(b *testing.B) {
	b.ReportAllocs()
	dst := make([]byte, 0, 128)
	for b.Loop() {
		dst = ws.AppendClose(dst[:0], ws.CodeGoingAway, "the server is shutting down")
	}
}

// clientFrame is a masked frame with the given first byte, written out by hand.
func clientFrame(first byte, payload []byte) []byte {
	var frame []byte
	switch n := len(payload); {
	case n < 126:
		frame = []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		frame = []byte{first, 0x80 | 126, byte(n >> 8), byte(n)}
	default:
		frame = []byte{first, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	frame = append(frame, mask[:]...)
	for i, c := range payload {
		frame = append(frame, c^mask[i%4])
	}
	return frame
}
