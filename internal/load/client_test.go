package load_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestMessages runs plans with all kinds of messages, and looks at them from the
// server's side.
func TestMessages(t *testing.T) {
	leavesNothing(t)
	for name, change := range map[string]func(*result.Plan){
		"default":        func(p *result.Plan) { p.MinSize = 0 },
		"short":          func(p *result.Plan) { p.MinSize, p.MaxSize = 1, 3 },
		"a range":        func(p *result.Plan) { p.MinSize, p.MaxSize = 100, 300 },
		"binary":         func(p *result.Plan) { p.Binary = true },
		"16 in flight":   func(p *result.Plan) { p.InFlight = 16 },
		"64 KiB":         func(p *result.Plan) { p.MinSize, p.InFlight = 64<<10, 4 },
		"1 MiB":          func(p *result.Plan) { p.MinSize, p.InFlight, p.Connections = 1<<20, 2, 2 },
		"no warm-up":     func(p *result.Plan) { p.Warmup, p.Duration = -1, time.Second },
		"seed":           func(p *result.Plan) { p.Seed = 7 },
		"many loops":     func(p *result.Plan) { p.Loops = 7 },
		"too many loops": func(p *result.Plan) { p.Loops, p.Connections = 7, 3 },
		"open, a range":  func(p *result.Plan) { p.Scenario, p.MaxSize = result.Rate, 5000 },
		"open, 7 loops":  func(p *result.Plan) { p.Scenario, p.Loops, p.Connections = result.Rate, 7, 9 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &echo{}
			p := result.Plan{Scenario: result.Echo, Connections: 20, MinSize: 64, Loops: 2, Warmup: 20 * time.Millisecond, Duration: 100 * time.Millisecond}
			change(&p)
			p.URL = serve(t, "127.0.0.1:0", &server.Server{Handler: e})
			r := run(t, p, load.Watch{})
			wantSane(t, r)
			opcode := ws.Text
			if p.Binary {
				opcode = ws.Binary
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if len(e.opcodes) != 1 || int64(e.opcodes[opcode]) < r.Count {
				t.Errorf("the server saw messages %v, want at least %d with opcode %v", e.opcodes, r.Count, opcode)
			}
			least, most := r.Plan.MinSize, r.Plan.MaxSize
			if r.Count > 500 && e.sizes[0] > least+(most-least)/10 || e.sizes[0] < least || r.Count > 500 && e.sizes[1] < most-(most-least)/10 || e.sizes[1] > most {
				t.Errorf("the server saw sizes %v, want %d to %d", e.sizes, least, most)
			}
		})
	}
}

// TestTargets reaches servers by other names, and from chosen addresses.
func TestTargets(t *testing.T) {
	for name, address := range map[string]string{
		"IPv6": "[::1]:0", "a name": "localhost:0", "all addresses": ":0",
	} {
		t.Run(name, func(t *testing.T) {
			p := brief(result.Churn, "")
			p.URL = serve(t, address, &server.Server{Handler: &echo{}})
			_, port, _ := net.SplitHostPort(strings.Trim(strings.TrimPrefix(p.URL, "ws://"), "/"))
			if name != "IPv6" {
				p.URL = "ws://localhost:" + port
			}
			wantSane(t, run(t, p, load.Watch{}))
		})
	}
	t.Run("sources", func(t *testing.T) {
		var others atomic.Int32
		url := scripted(t, func(p *peer) {
			if ip := p.RemoteAddr().(*net.TCPAddr).IP; ip.String() != "127.0.0.77" {
				others.Add(1)
			}
			if p.upgrade() {
				p.echo(whole)
			}
		})
		p := brief(result.Storm, url)
		p.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.77")}
		if r := run(t, p, load.Watch{}); r.Opened != 20 || others.Load() != 0 {
			t.Errorf("%d opened, %d of them from other addresses", r.Opened, others.Load())
		}
	})
}

// TestRequest looks at what a connection begins with.
func TestRequest(t *testing.T) {
	var mu sync.Mutex
	keys := map[string]int{}
	url := scripted(t, func(p *peer) {
		if !p.readRequest() {
			return
		}
		r := p.request
		if got, want := r.RequestURI, "/chat?room=1"; got != want {
			t.Errorf("target %q, want %q", got, want)
		}
		if got, want := "ws://"+r.Host, strings.TrimSuffix(fmt.Sprint("ws://", p.LocalAddr()), "/"); got != want {
			t.Errorf("host %q, want %q", got, want)
		}
		for name, want := range map[string]string{"Origin": "http://a.example", "Sec-Websocket-Protocol": "chat", "X-Load": "1"} {
			if got := r.Header.Values(name); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		mu.Lock()
		keys[r.Header.Get("Sec-Websocket-Key")]++
		mu.Unlock()
		p.send([]byte(p.upgraded("Sec-WebSocket-Protocol: chat\r\n")))
		p.echo(whole)
	})
	p := brief(result.Echo, url+"chat?room=1")
	p.Origin, p.Subprotocol, p.Header = "http://a.example", "chat", []string{"X-Load: 1"}
	wantSane(t, run(t, p, load.Watch{}))
	if len(keys) != 20 {
		t.Errorf("%d keys for 20 connections: %v", len(keys), keys)
	}
}

// TestInFlight: a closed loop has exactly so many messages under way, each with a
// mask key of its own.
func TestInFlight(t *testing.T) {
	url := scripted(t, func(p *peer) {
		if !p.upgrade() {
			return
		}
		for round := 0; ; round++ {
			var answer []byte
			for range 16 { // if they are fewer, this waits for ever
				op, payload, ok := p.next()
				if !ok || op == ws.Close {
					return
				}
				answer = ws.AppendFrame(answer, op, payload)
			}
			if round == 0 {
				_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if b, err := p.in.Peek(1); err == nil {
					t.Errorf("more than 16 messages under way: %x", b)
				}
				_ = p.SetReadDeadline(time.Time{})
			}
			if len(p.keys) < 16*(round+1)-1 { // random keys are alike once in 2^32
				t.Errorf("%d keys of %d frames", len(p.keys), 16*(round+1))
			}
			p.send(answer)
		}
	})
	p := brief(result.Echo, url)
	p.InFlight = 16
	r := run(t, p, load.Watch{})
	wantMessages(t, r)
	wantAllTimed(t, r)
	wantTroubles(t, r)
}

// TestAwkwardEchoes: an echo may come in fragments, empty ones too, with control
// frames between them, and in any pieces.
func TestAwkwardEchoes(t *testing.T) {
	var pongs, pings atomic.Int32
	url := scripted(t, func(p *peer) {
		if !p.upgrade() {
			return
		}
		for {
			op, payload, ok := p.next()
			switch {
			case !ok || op == ws.Close:
				p.send(ws.AppendFrame(nil, ws.Close, payload))
				return
			case op == ws.Pong:
				pongs.Add(1)
				if string(payload) != "still there?" {
					t.Errorf("a pong with %q", payload)
				}
				continue
			}
			half := len(payload) / 2
			frames := ws.AppendFragment(nil, op, false, nil)
			frames = ws.AppendFragment(frames, ws.Continuation, false, payload[:half])
			frames = ws.AppendFrame(frames, ws.Ping, []byte("still there?"))
			frames = ws.AppendFrame(frames, ws.Pong, []byte("unasked"))
			frames = ws.AppendFragment(frames, ws.Continuation, false, payload[half:])
			frames = ws.AppendFragment(frames, ws.Continuation, true, nil)
			pings.Add(1)
			for piece := range slices.Chunk(frames, 1+p.number) { // the first connection's byte by byte
				p.send(piece)
			}
		}
	})
	p := brief(result.Echo, url)
	p.MinSize, p.MaxSize = 1, 300
	r := run(t, p, load.Watch{})
	wantAllTimed(t, r)
	wantTroubles(t, r)
	if pongs.Load() != pings.Load() {
		t.Errorf("%d pongs to %d pings", pongs.Load(), pings.Load())
	}
}

// TestEarlyMessage: what the server sends right behind its answer, in one piece,
// is seen.
func TestEarlyMessage(t *testing.T) {
	url := scripted(t, func(p *peer) {
		if p.readRequest() {
			p.send(append([]byte(p.upgraded("")), ws.AppendClose(nil, ws.CodeTryAgainLater, "full")...))
			_, _, _ = p.next()
		}
	})
	r := run(t, brief(result.Echo, url), load.Watch{})
	wantTroubles(t, r, result.Trouble{What: `closed by the server: 1013 (try again later): "full"`, Count: 20})
}

// TestConnectRate: connections come at the pace asked for, from the first on and
// after a pause.
func TestConnectRate(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: it waits for connections that come slowly")
	}
	p := brief(result.Wave, serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}}))
	p.Connections, p.ConnectRate, p.Waves, p.Duration = 50, 100, 1, 1100*time.Millisecond
	start, connected := time.Now(), time.Duration(0)
	r := run(t, p, load.Watch{Phase: func(name string) {
		if name == "stay" {
			connected = time.Since(start)
		}
	}})
	wantTroubles(t, r)
	if connected < 400*time.Millisecond || r.Count != 50 || r.Seconds < 0.4 {
		t.Errorf("50 connections in %v, %d again in %v s, want 0.5 s each", connected, r.Count, r.Seconds)
	}
}

// TestHandshakes: no more connections open at once than allowed.
func TestHandshakes(t *testing.T) {
	var now, most atomic.Int32
	url := scripted(t, func(p *peer) {
		if !p.readRequest() {
			return
		}
		if n := now.Add(1); n > most.Load() {
			most.Store(n) // two at once may store the lower one, which is fine
		}
		time.Sleep(10 * time.Millisecond)
		now.Add(-1)
		p.send([]byte(p.upgraded("")))
		p.echo(whole)
	})
	p := brief(result.Storm, url)
	p.Handshakes = 4
	if r := run(t, p, load.Watch{}); r.Opened != 20 || most.Load() > 4 {
		t.Errorf("%d opened, %d at once, want 20 and 4", r.Opened, most.Load())
	}
}

// TestChurnEndsAsPlanned: a connection has its messages, or none, and ends with a close
// handshake or a reset, as the plan says.
func TestChurnEndsAsPlanned(t *testing.T) {
	leavesNothing(t)
	for name, tt := range map[string]struct {
		change func(*result.Plan)
		want   string // what a connection sends
	}{
		"one message": {func(*result.Plan) {}, "MC"},
		"three":       {func(p *result.Plan) { p.Messages = 3 }, "MMMC"},
		"none":        {func(p *result.Plan) { p.Messages = -1 }, "C"},
		"reset":       {func(p *result.Plan) { p.Reset = true }, "M"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen sync.Map
			url := scripted(t, func(p *peer) {
				if !p.upgrade() {
					return
				}
				var life bytes.Buffer
				for {
					op, payload, ok := p.next()
					if !ok {
						break
					}
					if op == ws.Close {
						life.WriteByte('C')
						p.send(ws.AppendFrame(nil, op, payload))
						break
					}
					life.WriteByte('M')
					p.send(whole(op, payload))
				}
				seen.Store(life.String(), true)
			})
			p := brief(result.Churn, url)
			tt.change(&p)
			r := run(t, p, load.Watch{})
			wantTroubles(t, r)
			wantAllTimed(t, r)
			seen.Range(func(life, _ any) bool {
				if life != tt.want {
					t.Errorf("a connection sent %v, want %v", life, tt.want)
				}
				return true
			})
		})
	}
}

// TestSlowReaders: what slow connections read is checked too, and a server that
// ends those that read nothing does no wrong.
func TestSlowReaders(t *testing.T) {
	t.Run("they read", func(t *testing.T) {
		var slow atomic.Int32
		url := scripted(t, func(p *peer) {
			if !p.upgrade() {
				return
			}
			if op, payload, ok := p.next(); ok {
				slow.Add(1)
				p.send(whole(op, payload))
			}
			p.echo(whole)
		})
		p := brief(result.Slow, url)
		p.SlowShare, p.SlowRate, p.Rate = 0.5, 10000, 200
		r := run(t, p, load.Watch{})
		wantTroubles(t, r)
		if slow.Load() != 20 {
			t.Errorf("%d connections sent something, want all 20", slow.Load())
		}
	})
	t.Run("they are cut", func(t *testing.T) {
		var measured atomic.Bool // the fast ones have begun
		url := scripted(t, func(p *peer) {
			if !p.upgrade() {
				return
			}
			op, payload, _ := p.next()
			if measured.Load() {
				p.drop()
				return
			}
			p.send(whole(op, payload))
			p.echo(whole)
		})
		p := brief(result.Slow, url)
		p.Warmup = 300 * time.Millisecond
		r := run(t, p, load.Watch{Phase: func(name string) { measured.Store(measured.Load() || name == "measure") }})
		wantTroubles(t, r)
		if !strings.Contains(strings.Join(r.Notes, "\n"), "the server ended 2 of the connections that read slowly") || r.Lost != 0 {
			t.Errorf("%d lost, notes %q, want that 2 were cut", r.Lost, r.Notes)
		}
	})
}
