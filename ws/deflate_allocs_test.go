//go:build !race

// sync.Pool drops items at random under the race detector.

package ws_test

import (
	"bytes"
	"testing"

	"github.com/millrace/millrace/ws"
)

// TestDeflateAllocs: in steady state a message costs none in either direction,
// with a context or without.
func TestDeflateAllocs(t *testing.T) {
	content := []byte(story(4000, 80))
	wire := []byte(inFrames(0xc1, deflated(string(content), 6), 500))
	for _, takeover := range []bool{false, true} {
		var w *ws.Window
		d := ws.Decoder{Deflate: true}
		if takeover {
			w, d.Window = &ws.Window{Bits: 15}, &ws.Window{Bits: 15}
		}
		frame := make([]byte, 0, len(content)+ws.MaxHeader+4)
		send := func() {
			if _, compressed := (ws.Deflater{}).AppendFrame(frame, ws.Text, content, w); compressed && takeover {
				w.Add(content)
			}
		}
		in := make([]byte, len(wire))
		receive := func() {
			copy(in, wire)
			m, rest, err := d.Next(in)
			if err != nil || len(rest) > 0 || !bytes.Equal(m.Payload, content) {
				t.Fatalf("%d bytes, %v", len(m.Payload), err)
			}
		}
		for name, f := range map[string]func(){"sending": send, "receiving": receive} {
			for range 20 {
				f() // fills the pools, and the codec's tables
			}
			// The codec's tables grow now and then, and the collector may empty a pool.
			if n := testing.AllocsPerRun(1000, f); n > 0 {
				t.Errorf("%s, takeover %v: %v allocations", name, takeover, n)
			}
		}
	}
	p := ws.Prepare(ws.Text, content)
	p.Deflated(ws.Deflater{})
	if n := testing.AllocsPerRun(100, func() { p.Deflated(ws.Deflater{}) }); n > 0 {
		t.Errorf("prepared: %v allocations", n)
	}
	r := parsed(t, extensions("permessage-deflate; client_max_window_bits"))
	response := make([]byte, 0, 1024)
	resp := ws.Response{}
	if n := testing.AllocsPerRun(100, func() {
		resp.Deflate = r.SelectDeflate(ws.DeflatePolicy{})
		response, _ = ws.AppendUpgrade(response[:0], r, &resp)
	}); n > 0 {
		t.Errorf("negotiation: %v allocations", n)
	}
}
