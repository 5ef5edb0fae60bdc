package ws_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/ws"
)

// compressedPayload takes a server's frame, which must be one whole compressed
// message, apart.
func compressedPayload(t testing.TB, frame []byte, op ws.Opcode) string {
	t.Helper()
	h, n, err := ws.ParseDeflateHeader(frame)
	if err != nil || !h.Fin || h.Opcode != op || !h.Compressed || int(h.Length) != len(frame)-n || ws.FrameSize(frame) != len(frame) {
		t.Fatalf("%x...: %+v, %v", frame[:min(10, len(frame))], h, err)
	}
	return string(frame[n:])
}

// deflaterContents are what a compressor is tried with.
func deflaterContents() map[string]string {
	return map[string]string{
		"one letter":  strings.Repeat("a", 1000),
		"200 bytes":   story(200, 10),
		"4 KiB":       story(4<<10, 11),
		"100 KiB":     story(100<<10, 12),
		"half random": noise(10_000, 13) + story(10_000, 13),
		"65,535":      story(65_535, 14),
		"65,536":      story(65_536, 15),
	}
}

// TestDeflater holds what it makes to the reference, at each level and each
// window: the same message, smaller, and no distance beyond the window.
func TestDeflater(t *testing.T) {
	for name, content := range deflaterContents() {
		for level := range 10 {
			for bits := 8; bits <= 15; bits++ {
				if bits < 15 && level > 1 {
					continue // levels are for the full window
				}
				z := ws.Deflater{Level: level, WindowBits: bits}
				dst := append(make([]byte, 0, 8+ws.MaxHeader+len(content)+4), "before"...)
				frame, compressed := z.AppendFrame(dst, ws.Text, []byte(content), nil)
				if string(frame[:6]) != "before" || &frame[0] != &dst[0] {
					t.Fatalf("%s, %+v: not appended, or moved", name, z)
				}
				frame = frame[6:]
				if len(frame) > len(content)+ws.MaxHeader {
					t.Errorf("%s, %+v: %d bytes become %d", name, z, len(content), len(frame))
				}
				if !compressed {
					if want := ws.AppendFrame(nil, ws.Text, []byte(content)); !bytes.Equal(frame, want) || name != "200 bytes" && name != "half random" {
						t.Errorf("%s, %+v: not compressed", name, z)
					}
					continue
				}
				got, longest, err := puffMessage(compressedPayload(t, frame, ws.Text), "", len(content))
				if err != nil || got != content || longest > 1<<bits {
					t.Errorf("%s, %+v: %d bytes, distance %d, %v", name, z, len(got), longest, err)
				}
			}
		}
	}
}

// TestDeflaterKeepsContext sends messages with takeover, some of them dropped
// and some uncompressed, and reads them with windows of the very size.
func TestDeflaterKeepsContext(t *testing.T) {
	for bits := 8; bits <= 15; bits++ {
		for _, level := range []int{1, 6, 7, 9} {
			z := ws.Deflater{Level: level, WindowBits: bits}
			w := ws.Window{Bits: bits}
			context, referred := "", false
			for i := range 30 {
				content := story(50+i*i*7, uint64(i/3)) // thrice almost the same
				frame, compressed := z.AppendFrame(nil, ws.Binary, []byte(content), &w)
				switch {
				case i%5 == 4: // dropped
				case compressed:
					w.Add([]byte(content))
					got, longest, err := puffMessage(compressedPayload(t, frame, ws.Binary), context, len(content))
					if err != nil || got != content || longest > 1<<bits {
						t.Fatalf("%+v, message %d: %d bytes, distance %d, %v", z, i, len(got), longest, err)
					}
					alone, _ := z.AppendFrame(nil, ws.Binary, []byte(content), nil)
					referred = referred || len(frame) < len(alone)
					context += content
					context = context[max(0, len(context)-1<<bits):]
				default:
					if want := ws.AppendFrame(nil, ws.Binary, []byte(content)); !bytes.Equal(frame, want) {
						t.Fatalf("%+v, message %d: %x", z, i, frame)
					}
				}
			}
			if !referred {
				t.Errorf("%+v: no message is smaller for what came before", z)
			}
		}
	}
}

func TestDeflaterLeavesAlone(t *testing.T) {
	cases := []struct {
		name       string
		z          ws.Deflater
		content    string
		compressed bool
	}{
		{"below the default threshold", ws.Deflater{}, strings.Repeat("a", 127), false},
		{"at the default threshold", ws.Deflater{}, strings.Repeat("a", 128), true},
		{"below a threshold", ws.Deflater{Threshold: 1000}, strings.Repeat("a", 999), false},
		{"at a threshold", ws.Deflater{Threshold: 1000}, strings.Repeat("a", 1000), true},
		{"no threshold", ws.Deflater{Threshold: -1}, strings.Repeat("a", 100), true},
		{"no threshold, too short", ws.Deflater{Threshold: -1}, "a", false},
		{"no threshold, empty", ws.Deflater{Threshold: -1}, "", false},
		{"random", ws.Deflater{Threshold: -1}, noise(100_000, 20), false},
		{"random, level 9", ws.Deflater{Level: 9}, noise(100_000, 20), false},
		{"random, narrow", ws.Deflater{WindowBits: 9}, noise(100_000, 20), false},
	}
	for _, c := range cases {
		frame, compressed := c.z.AppendFrame([]byte("before"), ws.Text, []byte(c.content), nil)
		if compressed != c.compressed {
			t.Errorf("%s: compressed %v", c.name, compressed)
		}
		if want := ws.AppendFrame([]byte("before"), ws.Text, []byte(c.content)); !compressed && !bytes.Equal(frame, want) {
			t.Errorf("%s: %d bytes, not %d", c.name, len(frame), len(want))
		}
		// The compressor that gave up is the next one's.
		frame, _ = c.z.AppendFrame(nil, ws.Text, []byte(story(5000, 21)), nil)
		if got, _, err := puffMessage(compressedPayload(t, frame, ws.Text), "", 5000); err != nil || got != story(5000, 21) {
			t.Errorf("%s: the next message: %d bytes, %v", c.name, len(got), err)
		}
	}
}

// TestPreparedDeflated has one compressed form for all who agreed alike, and for
// those to whom the difference does not matter.
func TestPreparedDeflated(t *testing.T) {
	small, large := ws.Prepare(ws.Text, []byte(story(1000, 30))), ws.Prepare(ws.Binary, []byte(story(5000, 31)))
	same := func(p *ws.Prepared, a, b ws.Deflater) bool {
		x, one := p.Deflated(a)
		y, two := p.Deflated(b)
		return one && two && &x[0] == &y[0]
	}
	cases := []struct {
		name string
		p    *ws.Prepared
		a, b ws.Deflater
		same bool
	}{
		{"equal", small, ws.Deflater{Level: 6}, ws.Deflater{Level: 6}, true},
		{"defaults", small, ws.Deflater{}, ws.Deflater{Level: 1, Threshold: 128, WindowBits: 15}, true},
		{"thresholds", small, ws.Deflater{Threshold: 5}, ws.Deflater{Threshold: 1000}, true},
		{"levels", small, ws.Deflater{Level: 5}, ws.Deflater{Level: 6}, false},
		{"windows larger than the message", small, ws.Deflater{WindowBits: 10}, ws.Deflater{}, true},
		{"windows smaller than it", large, ws.Deflater{WindowBits: 10}, ws.Deflater{WindowBits: 11}, false},
		{"one of them smaller", large, ws.Deflater{WindowBits: 10}, ws.Deflater{}, false},
	}
	for _, c := range cases {
		if got := same(c.p, c.a, c.b); got != c.same {
			t.Errorf("%s: same %v", c.name, got)
		}
	}
	frame, compressed := large.Deflated(ws.Deflater{WindowBits: 10})
	got, longest, err := puffMessage(compressedPayload(t, frame, ws.Binary), "", 5000)
	if !compressed || err != nil || got != string(large.Payload()) || longest > 1<<10 {
		t.Errorf("%d bytes, distance %d, %v", len(got), longest, err)
	}
	for name, p := range map[string]*ws.Prepared{"short": ws.Prepare(ws.Text, []byte("short")), "random": ws.Prepare(ws.Binary, []byte(noise(1000, 32)))} {
		for range 2 {
			frame, compressed := p.Deflated(ws.Deflater{})
			if compressed || &frame[0] != &p.Frame()[0] {
				t.Errorf("%s: %x, compressed %v", name, frame, compressed)
			}
		}
	}
}

// TestPreparedDeflatedAtOnce has many ask at the same time and get the same.
func TestPreparedDeflatedAtOnce(t *testing.T) {
	for range 50 {
		p := ws.Prepare(ws.Text, []byte(story(3000, 33)))
		first := [2]*byte{}
		var frames [16]*byte
		var group sync.WaitGroup
		for i := range frames {
			group.Go(func() {
				frame, _ := p.Deflated(ws.Deflater{Level: 1 + i%2})
				frames[i] = &frame[0]
			})
		}
		group.Wait()
		for i, f := range frames {
			if first[i%2] == nil {
				first[i%2] = f
			}
			if f != first[i%2] {
				t.Fatal("two compressed forms of one message")
			}
		}
	}
}

// TestBomb has 64 MiB behind 65 KB refused at the limit, and holds the memory
// that it took: at once, in 1,000 fragments, and as a copy of what came before.
func TestBomb(t *testing.T) {
	const (
		limit    = 1 << 20
		inflater = 48 << 10 // the pool may have lost it: under the race detector it does so at random
	)
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	bomb := strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
	if len(bomb) > 70_000 {
		t.Fatalf("%d bytes", len(bomb))
	}
	warm := inFrames(0xc2, deflated("\x00", 1), 0)
	for name, wire := range map[string]string{
		"one frame":     inFrames(0xc2, bomb, 0),
		"1,000 frames":  inFrames(0xc2, bomb, len(bomb)/1000+1),
		"with takeover": inFrames(0xc2, deflated(strings.Repeat("\x00", 40_000), 9), 0) + inFrames(0xc2, bomb, 0),
	} {
		for _, stream := range []bool{false, true} {
			d := ws.Decoder{MaxMessage: limit, Stream: stream, Deflate: true, Window: &ws.Window{Bits: 15}}
			decode(t, &d, []byte(warm)) // an inflater is in the pool
			reads := split([]byte(wire), []int{4096})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := ws.Code(0)
			for _, in := range reads {
				for m := (ws.Message{Opcode: ws.Binary}); got == 0 && m.Opcode != 0; {
					if m, in, err = d.Next(in); err != nil {
						got = err.(*ws.CloseError).Code
					}
				}
			}
			d.Reset()
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; got != 1009 || took > 2*limit+inflater {
				t.Errorf("%s, stream %v: error %d, %d bytes allocated", name, stream, got, took)
			}
		}
	}
}

func BenchmarkDeflater(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10, 64 << 10} {
		content := []byte(story(size, 40))
		for _, level := range []int{1, 5, 9} {
			for _, bits := range []int{0, 13, 15} {
				b.Run(fmt.Sprintf("%d B, level %d, context of %d bits", size, level, bits), func(b *testing.B) {
					b.ReportAllocs()
					z, w := ws.Deflater{Level: level}, (*ws.Window)(nil)
					if bits > 0 {
						w = &ws.Window{Bits: bits}
						w.Add([]byte(story(1<<bits, 41)))
					}
					dst := make([]byte, 0, size+20)
					for b.Loop() {
						dst, _ = z.AppendFrame(dst[:0], ws.Text, content, w)
					}
					b.ReportMetric(100*float64(len(dst))/float64(size), "%size")
				})
			}
		}
	}
}

func BenchmarkDecoderInflates(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10, 64 << 10} {
		for _, bits := range []int{0, 13, 15} {
			b.Run(fmt.Sprintf("%d B, context of %d bits", size, bits), func(b *testing.B) {
				b.ReportAllocs()
				wire := []byte(inFrames(0xc1, deflated(story(size, 42), 6), 0))
				in := make([]byte, len(wire))
				d := ws.Decoder{Deflate: true}
				if bits > 0 {
					d.Window = &ws.Window{Bits: bits}
					d.Window.Add([]byte(story(1<<bits, 43)))
				}
				for b.Loop() {
					copy(in, wire)
					if decodeAll(b, &d, in) != 1 {
						b.Fatal(io.ErrUnexpectedEOF)
					}
				}
			})
		}
	}
}
