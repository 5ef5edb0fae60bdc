package load_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/ws"
)

// ticking sends a frame every few milliseconds until the client closes.
func ticking(p *peer, frame []byte) {
	go func() {
		for p.send(frame) {
			time.Sleep(2 * time.Millisecond)
		}
	}()
	p.echo(whole)
}

// TestReceive counts and times what a server sends by itself, of any kind, in
// whatever frames, once it was told to.
func TestReceive(t *testing.T) {
	leavesNothing(t)
	for name, tt := range map[string]struct {
		frame []byte
		size  int64
	}{
		"text":       {whole(ws.Text, []byte("tick")), 4},
		"binary":     {whole(ws.Binary, make([]byte, 70000)), 70000},
		"fragments":  {ws.AppendFragment(ws.AppendFragment(nil, ws.Text, false, []byte("ti")), ws.Continuation, true, []byte("cks")), 5},
		"empty":      {whole(ws.Text, nil), 0},
		"a ping too": {append(whole(ws.Ping, []byte("x")), whole(ws.Text, []byte("tick"))...), 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hasty(scripted(t, func(p *peer) {
				if !p.upgrade() {
					return
				}
				if op, payload, _ := p.next(); op != ws.Text || string(payload) != "subscribe" {
					t.Errorf("hello %v %q", op, payload)
				}
				ticking(p, tt.frame)
			}))
			p.Scenario, p.Hello, p.ConnectTimeout = result.Receive, "subscribe", patience
			r := run(t, p, load.Watch{})
			wantTroubles(t, r)
			if r.Unit != "message" || r.Count == 0 || r.Bytes != r.Count*tt.size || r.Latency.Count() == 0 || r.Latency.Count() > r.Count {
				t.Errorf("%d %ss, %d bytes, %d gaps", r.Count, r.Unit, r.Bytes, r.Latency.Count())
			}
			if r.Latency.Quantile(0.5) < 1500 {
				t.Errorf("a gap of %v us, want 2 ms at least", r.Latency.Quantile(0.5))
			}
		})
	}
}

// TestReceiveFlaws: nothing that comes, or what is no right frame, is trouble.
func TestReceiveFlaws(t *testing.T) {
	leavesNothing(t)
	for name, tt := range map[string]struct {
		script func(p *peer)
		want   result.Trouble
	}{
		"silence": {func(p *peer) { p.echo(whole) }, result.Trouble{What: "receive: no message came in the measured window", Count: 1}},
		"masked": {func(p *peer) {
			p.send(ws.AppendMaskedFrame(nil, ws.Text, true, []byte("x"), [4]byte{1}))
			p.echo(whole)
		}, result.Trouble{What: "wrong frame: masked frame from a server", Count: 4}},
		"a beginning inside": {func(p *peer) {
			p.send(append(ws.AppendFragment(nil, ws.Text, false, []byte("x")), whole(ws.Text, nil)...))
			p.echo(whole)
		}, result.Trouble{What: "wrong frame: a message begins inside another, or goes on without a beginning", Count: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hasty(scripted(t, func(p *peer) {
				if p.upgrade() {
					tt.script(p)
				}
			}))
			p.Scenario = result.Receive
			r := run(t, p, load.Watch{})
			wantTroubles(t, r, tt.want)
			if strings.Contains(name, "silence") && r.Lost != 0 {
				t.Errorf("%d lost", r.Lost)
			}
		})
	}
}
