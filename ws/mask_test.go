package ws_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	gobwas "github.com/gobwas/ws"
	"github.com/millrace/millrace/ws"
)

// TestDecoderUnmasks compares every alignment and length with a plain loop, in
// one read and in two that are cut anywhere.
func TestDecoderUnmasks(t *testing.T) {
	masks := [][4]byte{{}, {0x37, 0xfa, 0x21, 0x3d}, {0xff, 0, 0xff, 0}}
	memory := make([]byte, 16+14+64)
	for _, mask := range masks {
		for align := range 16 {
			for length := range 65 {
				want := make([]byte, length)
				wire := append([]byte{0x82, 0x80 | byte(length)}, mask[:]...)
				for i := range want {
					want[i] = byte(i*7 + length)
					wire = append(wire, want[i]^mask[i%4])
				}
				for cut := range len(wire) {
					in := memory[align : align+len(wire)]
					copy(in, wire)
					if got := decodeTwo(t, in[:cut], in[cut:]); !bytes.Equal(got, want) {
						t.Fatalf("mask %x, alignment %d, length %d, cut at %d:\n%x\n%x", mask, align, length, cut, got, want)
					}
				}
			}
		}
	}
}

func decodeTwo(t *testing.T, first, second []byte) []byte {
	var d ws.Decoder
	if m, _, err := d.Next(first); err != nil || m.Opcode != 0 {
		t.Fatalf("%v, error %v from half a frame", m.Opcode, err)
	}
	m, _, err := d.Next(second)
	if err != nil || m.Opcode != ws.Binary {
		t.Fatalf("%v, error %v", m.Opcode, err)
	}
	return m.Payload
}

// TestDecoderAgainstGobwas compares with the other implementation where that is
// right: which headers it takes, and what whole frames hold.
func TestDecoderAgainstGobwas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for header := range 1 << 16 {
		for _, inside := range []bool{false, true} {
			wire := []byte{byte(header >> 8), byte(header)}
			for range random.IntN(200) + 12 {
				wire = append(wire, byte(random.Uint32()))
			}
			compareWithGobwas(t, wire, inside)
		}
	}
}

func compareWithGobwas(t *testing.T, wire []byte, inside bool) {
	t.Helper()
	d := ws.Decoder{MaxMessage: 1 << 62}
	state := gobwas.StateServerSide
	if inside {
		decode(t, &d, []byte(masked("\x02\x80", "")))
		state |= gobwas.StateFragmented
	}
	reader := bytes.NewReader(wire)
	h, err := gobwas.ReadHeader(reader)
	if err == nil {
		err = gobwas.CheckHeader(h, state)
	}
	if err == nil {
		minimal := wire[1]&0x7f < 126 || h.Length > 65535 || wire[1]&0x7f == 126 && h.Length > 125
		if !minimal || h.Length > 1<<62 || h.OpCode == gobwas.OpClose {
			return // where gobwas is no oracle: length encodings, limits, close codes
		}
		wire = wire[:min(int64(len(wire)), int64(len(wire)-reader.Len())+h.Length)]
	}
	in := bytes.Clone(wire)
	m, _, got := d.Next(in)
	if err != nil {
		if got == nil {
			t.Fatalf("%x, inside %v: accepted; gobwas says %v", wire[:2], inside, err)
		}
		return
	}
	if got != nil && h.OpCode != gobwas.OpText {
		t.Fatalf("%x, inside %v: %v; gobwas accepts it", wire[:2], inside, got)
	}
	if m.Opcode == 0 {
		return // refused for its UTF-8, unfinished, or a fragment
	}
	payload := wire[len(wire)-int(h.Length):]
	gobwas.Cipher(payload, h.Mask, 0)
	if !bytes.Equal(m.Payload, payload) {
		t.Fatalf("%x, inside %v: payload %x; gobwas has %x", wire[:2], inside, m.Payload, payload)
	}
}
