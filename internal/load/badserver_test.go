package load_test

import (
	"bytes"
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// hasty is a plan for four connections to a bad server that has not long to live.
func hasty(url string) result.Plan {
	return result.Plan{
		Scenario: result.Echo, URL: url, Connections: 4, Loops: 2, Rate: 1000,
		Warmup: 50 * time.Millisecond, Duration: 100 * time.Millisecond,
		ConnectTimeout: 500 * time.Millisecond, Timeout: patience, ServerPID: -1,
	}
}

// TestBadUpgrades: whatever goes wrong before a connection is open gives one line
// with the number of connections.
func TestBadUpgrades(t *testing.T) {
	leavesNothing(t)
	for name, tt := range map[string]struct {
		script func(p *peer)
		want   string
	}{
		"no answer":              {func(p *peer) { p.hold() }, "upgrade: no full answer within 500ms"},
		"half an answer":         {func(p *peer) { p.answer("HTTP/1.1 101 Switching Pro"); p.hold() }, "upgrade: no full answer within 500ms"},
		"closed":                 {func(p *peer) { p.readRequest() }, "upgrade: the server ended the connection without a full answer"},
		"closed halfway":         {func(p *peer) { p.answer("HTTP/1.1 101 Switching Pro") }, "upgrade: the server ended the connection without a full answer"},
		"reset":                  {func(p *peer) { p.readRequest(); p.drop() }, "upgrade: the server reset the connection"},
		"301":                    {func(p *peer) { p.answer("HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\n\r\n") }, "upgrade: refused with 301 Moved Permanently"},
		"403":                    {func(p *peer) { p.answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno") }, "upgrade: refused with 403 Forbidden"},
		"404":                    {func(p *peer) { p.answer("HTTP/1.0 404 Not Found\r\n\r\n") }, "upgrade: refused with 404 Not Found"},
		"503, no reason":         {func(p *peer) { p.answer("HTTP/1.1 503 \r\n\r\n") }, "upgrade: refused with 503"},
		"not HTTP":               {func(p *peer) { p.answer("-ERR unknown command 'GET'\r\n"); p.hold() }, "upgrade: the answer is not HTTP"},
		"speaks first":           {func(p *peer) { p.send([]byte("SSH-2.0-OpenSSH_9.9\r\n")); p.hold() }, "upgrade: the answer is not HTTP"},
		"bad status line":        {func(p *peer) { p.answer("HTTP/1.1 abc\r\n\r\n") }, "upgrade: malformed status line"},
		"endless head":           {endlessHead, "upgrade: the response's head is longer than 16384 bytes"},
		"long head":              {func(p *peer) { p.answer("HTTP/1.1 101 OK\r\nX: " + strings.Repeat("x", 20000) + "\r\n\r\n") }, "upgrade: the response's head is longer than 16384 bytes"},
		"interim responses only": {func(p *peer) { p.answer(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10)); p.hold() }, "upgrade: no full answer within 500ms"},
		"endless interim responses": {func(p *peer) {
			for p.readRequest(); p.send([]byte("HTTP/1.1 102 Processing\r\n\r\n")); {
			}
		}, "upgrade: too many interim responses, or too long ones"},
		"endless interim response": {func(p *peer) {
			for p.answer("HTTP/1.1 103 Early Hints\r\n"); p.send([]byte("X-More: and more\r\n")); {
			}
		}, "upgrade: too many interim responses, or too long ones"},
		"refused behind one":  {func(p *peer) { p.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n") }, "upgrade: refused with 403 Forbidden"},
		"not HTTP behind one": {func(p *peer) { p.answer("HTTP/1.1 100 Continue\r\n\r\n-ERR\r\n"); p.hold() }, "upgrade: the answer is not HTTP"},
		"wrong accept": {func(p *peer) {
			p.answer("HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
		}, "upgrade: 101 without exactly one right Sec-WebSocket-Accept"},
		"no upgrade": {func(p *peer) { p.answer("HTTP/1.1 101 OK\r\n\r\n") }, "upgrade: 101 without exactly one Upgrade: websocket"},
		"an extension": {func(p *peer) {
			if p.readRequest() {
				p.send([]byte(p.upgraded("Sec-WebSocket-Extensions: permessage-deflate\r\n")))
			}
		}, "upgrade: 101 with an extension that was not asked for"},
		"a subprotocol": {func(p *peer) {
			if p.readRequest() {
				p.send([]byte(p.upgraded("Sec-WebSocket-Protocol: chat\r\n")))
			}
		}, "upgrade: 101 with a subprotocol that was not asked for, or two"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, hasty(scripted(t, tt.script)), load.Watch{})
			wantTroubles(t, r, result.Trouble{What: tt.want, Count: 4})
			if r.Failed != 4 || r.Opened != 0 || r.Lost != 0 || r.Count != 0 || r.Peak != 0 {
				t.Errorf("%d failed, %d opened, %d lost, %d messages, %d at once", r.Failed, r.Opened, r.Lost, r.Count, r.Peak)
			}
		})
	}
}

// TestInterimResponses: what comes before the answer is skipped, in whatever pieces
// it comes, and frames behind that are not lost.
func TestInterimResponses(t *testing.T) {
	leavesNothing(t)
	const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	for name, send := range map[string]func(p *peer, answer string){
		"at once": func(p *peer, answer string) { p.send([]byte(answer)) },
		"in bytes": func(p *peer, answer string) {
			for i := range len(answer) {
				p.send([]byte{answer[i]})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := hasty(scripted(t, func(p *peer) {
				if p.readRequest() {
					send(p, interim+p.upgraded(""))
				}
				p.echo(whole)
			}))
			if r := run(t, plan, load.Watch{}); r.Opened != 4 || r.Failed != 0 || r.Count == 0 {
				t.Errorf("%d opened, %d failed, %d messages: %v", r.Opened, r.Failed, r.Count, r.Troubles)
			}
		})
	}
}

// TestSpeaksFirst: what a server says before it is asked may be there before the
// connection is known to be made.
func TestSpeaksFirst(t *testing.T) {
	leavesNothing(t)
	url := scripted(t, func(p *peer) { p.send([]byte("220 ready\r\n")); p.hold() })
	p := hasty(url)
	p.Connections, p.Loops, p.Handshakes = 500, 1, 500
	wantTroubles(t, run(t, p, load.Watch{}), result.Trouble{What: "upgrade: the answer is not HTTP", Count: 500})
}

func endlessHead(p *peer) {
	p.answer("HTTP/1.1 101 Switching Protocols\r\n")
	for p.send([]byte("X-More: and more\r\n")) {
	}
}

// refusing is a URL where nobody listens.
func refusing(t *testing.T) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "ws://" + ln.Addr().String()
}

// TestNobodyListens: no scenario hangs, and each says why it did nothing.
func TestNobodyListens(t *testing.T) {
	leavesNothing(t)
	for _, engine := range poller.Engines() {
		for _, scenario := range result.Scenarios() {
			t.Run(engine+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				p := hasty(refusing(t))
				p.Scenario, p.Poller = scenario, engine
				r := run(t, p, load.Watch{})
				// churn goes on trying
				wantTroubles(t, r, result.Trouble{What: "connect: connection refused", Count: max(4, r.Failed)})
				if r.Failed < 4 || r.Failed > 4 && scenario != result.Churn || r.Opened != 0 || r.Count != 0 {
					t.Errorf("%d failed, %d opened, %d done", r.Failed, r.Opened, r.Count)
				}
				if strings.Contains(strings.Join(r.Notes, " "), "interrupted") {
					t.Errorf("notes %q", r.Notes)
				}
			})
		}
	}
}

// TestHalfRefused: the others do what the plan says.
func TestHalfRefused(t *testing.T) {
	url := scripted(t, func(p *peer) {
		if p.number%2 == 1 {
			p.answer("HTTP/1.1 503 Service Unavailable\r\n\r\n")
			return
		}
		if p.upgrade() {
			p.echo(whole)
		}
	})
	r := run(t, hasty(url), load.Watch{})
	wantTroubles(t, r, result.Trouble{What: "upgrade: refused with 503 Service Unavailable", Count: 2})
	wantMessages(t, r)
	wantAllTimed(t, r)
	if r.Failed != 2 || r.Opened != 2 || r.Peak != 2 || r.Count == 0 {
		t.Errorf("%d failed, %d opened, %d at once, %d messages", r.Failed, r.Opened, r.Peak, r.Count)
	}
}

// afterSome echoes some messages well, and then does something else with one.
func afterSome(p *peer, then func(op ws.Opcode, payload []byte) []byte) {
	if !p.upgrade() {
		return
	}
	seen := 0
	p.echo(func(op ws.Opcode, payload []byte) []byte {
		if seen++; seen < 3 {
			return whole(op, payload)
		}
		return then(op, payload)
	})
}

// TestWrongEchoes: an echo that is not what was sent ends its connection, and
// gives one line with the number of them.
func TestWrongEchoes(t *testing.T) {
	leavesNothing(t)
	const content, notDue = "wrong echo: the payload is not what was sent", "wrong echo: a message that was not due"
	for name, tt := range map[string]struct {
		answer     func(op ws.Opcode, payload []byte) []byte
		want, note string
	}{
		"a byte": {func(op ws.Opcode, b []byte) []byte { b[40] ^= 1; return whole(op, b) }, content, "byte 40 is "},
		"a byte of the second fragment": {func(op ws.Opcode, b []byte) []byte {
			b[40] ^= 1
			return ws.AppendFragment(ws.AppendFragment(nil, op, false, b[:20]), ws.Continuation, true, b[20:])
		}, content, "byte 40 is "},
		"shorter":    {func(op ws.Opcode, b []byte) []byte { return whole(op, b[:63]) }, content, "it ends after 63 of 64 bytes"},
		"longer":     {func(op ws.Opcode, b []byte) []byte { return whole(op, append(b, 'x')) }, content, "it is longer than the 64 bytes sent"},
		"empty":      {func(op ws.Opcode, b []byte) []byte { return whole(op, nil) }, content, "it ends after 0 of 64 bytes"},
		"twice":      {func(op ws.Opcode, b []byte) []byte { return append(whole(op, b), whole(op, b)...) }, notDue, ""},
		"the other":  {func(_ ws.Opcode, b []byte) []byte { return whole(ws.Binary, b) }, "wrong echo: text for binary, or the other way round", ""},
		"masked":     {func(op ws.Opcode, b []byte) []byte { return ws.AppendMaskedFrame(nil, op, true, b, [4]byte{1}) }, "wrong frame: masked frame from a server", ""},
		"opcode":     {func(op ws.Opcode, b []byte) []byte { return whole(3, b) }, "wrong frame: reserved opcode", ""},
		"compressed": {func(op ws.Opcode, b []byte) []byte { return whole(op|0x40, b) }, "wrong frame: reserved bit set", ""},
		"long length": {func(op ws.Opcode, b []byte) []byte { return append([]byte{0x81, 126, 0, 64}, b...) },
			"wrong frame: malformed frame length", ""},
		"a beginning inside": {func(op ws.Opcode, b []byte) []byte {
			return append(ws.AppendFragment(nil, op, false, b[:9]), whole(op, b)...)
		},
			"wrong frame: a message begins inside another, or goes on without a beginning", ""},
		"no beginning": {func(op ws.Opcode, b []byte) []byte { return whole(ws.Continuation, b) },
			"wrong frame: a message begins inside another, or goes on without a beginning", ""},
		"huge": {func(op ws.Opcode, b []byte) []byte {
			return append(ws.AppendHeader(nil, op, true, math.MaxInt64), b...)
		}, content, "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := scripted(t, func(p *peer) { afterSome(p, tt.answer) })
			r := run(t, hasty(url), load.Watch{})
			wantLost(t, r, tt.want)
			if !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
				t.Errorf("notes %q, want one with %q", r.Notes, tt.note)
			}
		})
	}
}

// wantLost checks that the only trouble is that all four connections were lost.
func wantLost(t *testing.T, r *result.Result, why string) {
	t.Helper()
	wantTroubles(t, r, result.Trouble{What: why, Count: 4})
	if r.Opened != 4 || r.Lost != 4 || r.Failed != 0 || r.Peak != 4 {
		t.Errorf("%d opened, %d lost, %d failed, %d at once", r.Opened, r.Lost, r.Failed, r.Peak)
	}
}

// TestReordered: two messages that changed places are noticed, though both came.
func TestReordered(t *testing.T) {
	url := scripted(t, func(p *peer) {
		if !p.upgrade() {
			return
		}
		_, first, _ := p.next()
		op, second, _ := p.next()
		p.send(append(whole(op, second), whole(op, first)...))
		_, _, _ = p.next()
	})
	p := hasty(url)
	p.InFlight = 2
	wantLost(t, run(t, p, load.Watch{}), "wrong echo: the payload is not what was sent")
}

// TestEarlyEnds: a server that ends its connections in the middle of a long run
// ends the run.
func TestEarlyEnds(t *testing.T) {
	leavesNothing(t)
	for name, tt := range map[string]struct {
		end  func(p *peer)
		want string
	}{
		"going away": {func(p *peer) { p.send(ws.AppendClose(nil, ws.CodeGoingAway, "")) }, "closed by the server: 1001 (going away)"},
		"too big": {func(p *peer) { p.send(ws.AppendClose(nil, ws.CodeTooBig, "at most 32 bytes")) },
			`closed by the server: 1009 (message too big): "at most 32 bytes"`},
		"no code": {func(p *peer) { p.send(ws.AppendClose(nil, ws.CodeNoStatus, "")) }, "closed by the server: 1005 (no status)"},
		"end":     {func(p *peer) { _ = p.CloseWrite() }, "the server ended the connection without a close frame"},
		"reset":   {func(p *peer) { p.drop() }, "the server reset the connection"},
		"half a frame": {func(p *peer) { p.send([]byte{0x81}); _ = p.CloseWrite() },
			"the server ended the connection without a close frame"},
	} {
		for _, scenario := range []string{result.Echo, result.Rate} {
			t.Run(name+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				url := scripted(t, func(p *peer) {
					if !p.upgrade() {
						return
					}
					for range 3 {
						op, payload, _ := p.next()
						p.send(whole(op, payload))
					}
					_, _, _ = p.next()
					tt.end(p)
					for ok := true; ok; _, _, ok = p.next() { // what comes unread would be answered by a reset
					}
				})
				p := hasty(url)
				p.Scenario, p.Duration, p.Timeout = scenario, time.Hour, time.Minute
				start := time.Now()
				wantLost(t, run(t, p, load.Watch{}), tt.want)
				if took := time.Since(start); took > patience {
					t.Errorf("the run went on for %v", took)
				}
			})
		}
	}
}

// TestServerDies: none of the scenarios hangs when its server is killed, and all
// that need it end early and say so.
func TestServerDies(t *testing.T) {
	leavesNothing(t)
	for _, scenario := range result.Scenarios() {
		t.Run(scenario, func(t *testing.T) {
			everyday(t, scenario, result.Echo, result.Churn, result.Broadcast)
			t.Parallel()
			url, server := startEcho(t)
			p := hasty(url)
			p.Scenario, p.Connections, p.Duration, p.Waves = scenario, 100, 2*time.Second, 100
			if scenario == result.Storm {
				p.ConnectRate = 100
			}
			time.AfterFunc(300*time.Millisecond, func() { _ = server.Kill() })
			r := run(t, p, load.Watch{})
			troubles := 0
			for _, trouble := range r.Troubles {
				troubles += trouble.Count
				if strings.Contains(trouble.What, "did not end") {
					t.Errorf("trouble %+v", trouble)
				}
			}
			if troubles < 2 || len(r.Troubles) > 6 {
				t.Errorf("troubles %+v, want a few lines with counts", r.Troubles)
			}
		})
	}
}

// TestLastWords: a close frame is read though a reset came right behind it, as it
// does when the server has not read all.
func TestLastWords(t *testing.T) {
	leavesNothing(t)
	url := scripted(t, func(p *peer) {
		if p.upgrade() {
			_, _, _ = p.next()
			time.Sleep(20 * time.Millisecond) // while more comes
			p.send(ws.AppendClose(nil, ws.CodeTooBig, "no"))
			p.drop()
		}
	})
	p := hasty(url)
	p.Scenario, p.Rate, p.Loops = result.Rate, 1e6, 1 // so that writing meets the reset first
	wantLost(t, run(t, p, load.Watch{}), `closed by the server: 1009 (message too big): "no"`)
}

// TestStuckServer: a server that stops reading for ever does not stop the run's
// own end.
func TestStuckServer(t *testing.T) {
	leavesNothing(t)
	for _, scenario := range []string{result.Echo, result.Rate, result.Idle, result.Slow, result.Sweep} {
		t.Run(scenario, func(t *testing.T) {
			everyday(t, scenario, result.Echo, result.Sweep)
			t.Parallel()
			url := scripted(t, func(p *peer) {
				if p.upgrade() {
					p.hold()
				}
			})
			p := hasty(url)
			p.Scenario, p.Timeout, p.Rate = scenario, time.Second, 10000
			p.MinSize, p.InFlight = 64<<10, 100 // more than the kernel holds
			r := run(t, p, load.Watch{})
			if len(r.Troubles) != 1 || !strings.HasPrefix(r.Troubles[0].What, "the run did not end within 1s: it was still at ") {
				t.Errorf("troubles %+v, want that the time was over", r.Troubles)
			}
			if r.Count != 0 || r.Failed != 0 || r.Lost != 0 {
				t.Errorf("%d messages, %d failed, %d lost", r.Count, r.Failed, r.Lost)
			}
		})
	}
}

// TestPatientEnd: what does not come back is counted, and a server that does not
// end its connections is named.
func TestPatientEnd(t *testing.T) {
	t.Parallel() // it mostly waits
	const lost = "lost: messages that did not come back within "
	const notEnded = "close: the server did not end the connection within "
	for name, tt := range map[string]struct {
		script func(p *peer)
		want   string
	}{
		"no end":    {func(p *peer) { afterSome(p, whole); p.hold() }, notEnded},
		"no answer": {func(p *peer) { afterSome(p, func(ws.Opcode, []byte) []byte { return nil }) }, lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hasty(scripted(t, tt.script))
			p.ConnectTimeout, p.Duration, p.Timeout = patience, time.Second, time.Minute
			r := run(t, p, load.Watch{})
			if len(r.Troubles) != 1 || !strings.HasPrefix(r.Troubles[0].What, tt.want) || r.Troubles[0].Count != 4 {
				t.Errorf("troubles %+v, want 4 x %s", r.Troubles, tt.want)
			}
			if tt.want == lost {
				wantNote(t, r, "when measuring ended, a message had been under way for ")
			}
		})
	}
}

// TestInterrupted: what was measured until then is the result.
func TestInterrupted(t *testing.T) {
	leavesNothing(t)
	url := scripted(t, func(p *peer) {
		if p.upgrade() {
			p.echo(whole)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := hasty(url)
	p.Duration, p.Timeout = time.Hour, 2*time.Hour
	r, err := load.Run(ctx, p, load.Watch{Phase: func(name string) {
		if name == "measure" {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantTroubles(t, r)
	wantAllTimed(t, r)
	if r.Count == 0 || r.Seconds > patience.Seconds() || !strings.Contains(strings.Join(r.Notes, "\n"), "interrupted") {
		t.Errorf("%d messages in %v s, notes %q", r.Count, r.Seconds, r.Notes)
	}
}

// TestPings: a server that only pings, and never reads, does not fill the
// client's memory with pongs.
func TestPings(t *testing.T) {
	url := scripted(t, func(p *peer) {
		if !p.upgrade() {
			return
		}
		pings := bytes.Repeat(ws.AppendFrame(nil, ws.Ping, make([]byte, ws.MaxControlPayload)), 1000)
		for p.send(pings) {
		}
	})
	p := hasty(url)
	p.Scenario, p.Duration, p.Timeout = result.Idle, 500*time.Millisecond, time.Second
	before, grown := heapNow(), int64(0)
	r := run(t, p, load.Watch{Phase: func(name string) {
		if name == "measure" {
			grown = heapNow() - before
		}
	}})
	if r.Opened != 4 || r.Lost != 0 || grown > 16<<20 {
		t.Errorf("%d opened, %d lost, %d bytes of memory more", r.Opened, r.Lost, grown)
	}
}
