package load_test

import (
	"bytes"
	"compress/flate"
	"math"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
)

// TestDeflate runs every scenario, and messages of many sizes, compressed in both
// directions.
func TestDeflate(t *testing.T) {
	leavesNothing(t)
	change := map[string]func(*result.Plan){
		"64 KiB":      func(p *result.Plan) { p.MinSize, p.InFlight = 64<<10, 4 },
		"1 MiB":       func(p *result.Plan) { p.MinSize, p.InFlight, p.Connections = 1<<20, 2, 2 },
		"small ones":  func(p *result.Plan) { p.MinSize, p.MaxSize = 1, 300 }, // not all are worth it
		"binary":      func(p *result.Plan) { p.MinSize, p.Binary, p.InFlight = 5000, true, 16 },
		"3 processes": func(p *result.Plan) { p.Processes, p.MinSize = 3, 500 },
	}
	for _, scenario := range result.Scenarios() {
		change[scenario] = func(p *result.Plan) { p.Scenario, p.MinSize = scenario, 500 }
	}
	for _, deflate := range []string{load.DeflateOn, load.DeflateTakeover} {
		for name, change := range change {
			t.Run(deflate+"/"+name, func(t *testing.T) {
				if raceDetector() && (name == result.Rate || name == result.Sweep || name == result.Broadcast) {
					t.Skip("under the race detector compressing is too slow for a load that does not wait")
				}
				if deflate == load.DeflateTakeover {
					everyday(t, name, result.Echo)
				}
				everyday(t, name, result.Echo, result.Churn, result.Broadcast, "64 KiB")
				t.Parallel()
				srv := &server.Server{
					Handler: plainEcho{}, Queue: server.Queue{Max: 64 << 20}, // a busy machine is to be late, not cut off
					Deflate: &server.Deflate{ServerTakeover: true, ClientTakeover: true},
				}
				switch name {
				case result.Broadcast:
					srv.Handler = &publisher{conns: map[*server.Conn]struct{}{}}
				case result.Receive:
					srv.Handler = newTicker(t)
				}
				p := brief(result.Echo, serve(t, "127.0.0.1:0", srv))
				p.Deflate, p.ServerPID, p.Rate = deflate, -1, 500
				if name == result.Sweep {
					p.SweepLimit, p.Duration, p.SweepFactor, p.SweepMax = time.Minute, 100*time.Millisecond, 4, 2000
				}
				change(&p)
				if raceDetector() { // under which compressing takes twenty times as long
					p.Connections, p.InFlight = 4, min(p.InFlight, 2)
				}
				r := run(t, p, load.Watch{})
				wantSane(t, r)
				if name == result.Receive {
					return // what it gets is too short to be compressed
				}
				if s := srv.Stats(); s.Inflated.Messages == 0 && s.MessagesIn > 0 || s.Deflated.Messages == 0 && s.MessagesOut > 0 {
					t.Errorf("of %d and %d messages %d and %d were compressed", s.MessagesIn, s.MessagesOut, s.Inflated.Messages, s.Deflated.Messages)
				}
				eventually(t, "the windows are free", func() bool { return srv.Stats().Windows == 0 })
			})
		}
	}
}

// TestRatio: what compression makes of messages is counted, for each direction, and
// takeover makes them smaller still.
func TestRatio(t *testing.T) {
	leavesNothing(t)
	ratios := map[string]float64{}
	for _, deflate := range []string{load.DeflateOff, load.DeflateOn, load.DeflateTakeover} {
		srv := &server.Server{Handler: plainEcho{}, Deflate: &server.Deflate{ServerTakeover: true, ClientTakeover: true}}
		p := brief(result.Echo, serve(t, "127.0.0.1:0", srv))
		p.Deflate, p.Text, p.MinSize, p.ServerPID = deflate, load.TextJSON, 1000, -1
		r := run(t, p, load.Watch{})
		wantSane(t, r)
		if deflate == load.DeflateOff {
			if r.Wire != nil {
				t.Errorf("without compression: %+v", r.Wire)
			}
			continue
		}
		if w := r.Wire; w == nil || w.ReceivedPayload != r.Bytes || w.SentPayload%1000 != 0 ||
			math.Abs(w.SentRatio()-w.ReceivedRatio()) > 0.1 || w.SentRatio() < 0.05 || w.SentRatio() > 0.6 {
			t.Fatalf("%s: %+v, %d bytes of payload", deflate, w, r.Bytes)
		}
		ratios[deflate] = r.Wire.SentRatio()
		if f, ok := r.Figure("ratio-sent"); !ok || !f.Known || f.Value != r.Wire.SentRatio() {
			t.Errorf("figure %+v", f)
		}
	}
	if ratios[load.DeflateTakeover] > 0.9*ratios[load.DeflateOn] {
		t.Errorf("ratios %v, want less with takeover", ratios)
	}
}

// TestDeflateDeclined: a server that does not compress is not what was to be
// loaded.
func TestDeflateDeclined(t *testing.T) {
	leavesNothing(t)
	p := hasty(serve(t, "127.0.0.1:0", &server.Server{Handler: plainEcho{}}))
	p.Deflate = load.DeflateOn
	r := run(t, p, load.Watch{})
	wantTroubles(t, r, result.Trouble{What: "upgrade: the server declined permessage-deflate", Count: 4})
}

// TestWrongDeflated: what comes back compressed is compared as well.
func TestWrongDeflated(t *testing.T) {
	leavesNothing(t)
	const wrong = "wrong echo: the payload is not what was sent"
	for name, tt := range map[string]struct {
		answer func(payload []byte) []byte // the frame
		want   string
	}{
		"another byte": {func(payload []byte) []byte {
			payload[7]++
			return packedFrame(packed(payload))
		}, wrong},
		"one byte less":  {func(payload []byte) []byte { return packedFrame(packed(payload[1:])) }, wrong},
		"one byte more":  {func(payload []byte) []byte { return packedFrame(packed(append(payload, 'x'))) }, wrong},
		"a bomb":         {func(payload []byte) []byte { return packedFrame(packed(make([]byte, 1<<20))) }, wrong},
		"far too long":   {func(payload []byte) []byte { return packedFrame(make([]byte, 60_000)) }, wrong},
		"corrupt":        {func(payload []byte) []byte { return packedFrame([]byte("\xff\xff\xff\xff")) }, "wrong frame: compressed data is corrupt"},
		"a control, too": {func(payload []byte) []byte { return []byte("\xc9\x00") }, ""},
		"nothing":        {func(payload []byte) []byte { return packedFrame([]byte("\x00")) }, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hasty(scripted(t, func(p *peer) {
				if !p.readRequest() || !p.send([]byte(p.upgraded("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"))) {
					return
				}
				if _, payload, ok := p.next(); ok {
					p.send(tt.answer(payload))
					p.next()
				}
			}))
			p.Deflate = load.DeflateOn // its 64 bytes come as they are
			r := run(t, p, load.Watch{})
			if len(r.Troubles) != 1 || tt.want != "" && r.Troubles[0].What != tt.want || r.Troubles[0].Count != 4 {
				t.Errorf("troubles %+v, want %q four times", r.Troubles, tt.want)
			}
		})
	}
}

// packed is a message as RFC 7692 section 7.2.1 has it.
func packed(payload []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9) // the level is right
	_, _ = w.Write(payload)        // into memory
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func packedFrame(b []byte) []byte {
	frame := []byte{0xc1, byte(len(b))}
	if len(b) > 125 {
		frame = []byte{0xc1, 126, byte(len(b) >> 8), byte(len(b))}
	}
	return append(frame, b...)
}
