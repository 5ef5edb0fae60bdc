package load_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// streaming is a brief broadcast to event streams of millrace.
func streaming(t *testing.T, h server.Handler) result.Plan {
	p := brief(result.Broadcast, serve(t, "127.0.0.1:0", &server.Server{Handler: h, EventStreams: true}))
	p.Rate, p.ServerPID, p.EventStreams = 500, -1, true
	return p
}

// TestEventStreams: all that was due is timed at each event stream, whoever publishes,
// from one process or two, over TLS, in a closed loop and while connections are added.
func TestEventStreams(t *testing.T) {
	leavesNothing(t)
	for name, change := range map[string]func(*testing.T, *result.Plan){
		"one publishes":       func(*testing.T, *result.Plan) {},
		"3 publish":           func(_ *testing.T, p *result.Plan) { p.Publishers = 3 },
		"all but one publish": func(_ *testing.T, p *result.Plan) { p.Publishers = 19 },
		"2 processes":         func(_ *testing.T, p *result.Plan) { p.Publishers, p.Processes = 3, 2 },
		"20 KiB":              func(_ *testing.T, p *result.Plan) { p.MinSize, p.Rate = 20<<10, 100 },
		"emoji":               func(_ *testing.T, p *result.Plan) { p.Text = load.TextEmoji },
		"JSON":                func(_ *testing.T, p *result.Plan) { p.Text, p.MinSize = load.TextJSON, 999 },
		"closed loop":         func(_ *testing.T, p *result.Plan) { p.InFlight = 4 },
		"TLS": func(t *testing.T, p *result.Plan) {
			p.URL, p.CAFile = serveTLS(t, &server.Server{Handler: &hub{}, EventStreams: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, "3 publish", "2 processes", "TLS")
			p := streaming(t, &hub{})
			change(t, &p)
			r := run(t, p, load.Watch{})
			wantSane(t, r)
			wantDeliveries(t, r)
			if b := r.Publication; !b.Own || *b.Missing != 0 || b.Doubled != 0 || r.Last.Count() == 0 || r.Opened != 20 {
				t.Errorf("publication %+v, %d last arrivals, %d opened", b, r.Last.Count(), r.Opened)
			}
			if p.InFlight == 0 && p.Processes == 0 {
				wantDue(t, "latency", r.Latency, p.Rate, r.Seconds, 20)
			}
		})
	}
}

// TestEventStreamRamp: connections are added, as of WebSockets.
func TestEventStreamRamp(t *testing.T) {
	p := streaming(t, &hub{})
	p.RampLimit, p.RampStep, p.Duration = time.Minute, 10, 50*time.Millisecond
	r := run(t, p, load.Watch{})
	wantTroubles(t, r)
	if *r.Publication.Clients != 20 || len(r.Steps) != 2 {
		t.Errorf("%d clients in %d steps, notes %q", *r.Publication.Clients, len(r.Steps), r.Notes)
	}
}

// TestEventStreamsTimed: on a clock that moves only when all wait, an event takes exactly
// what it does at the server.
func TestEventStreamsTimed(t *testing.T) {
	for _, streams := range []bool{false, true} {
		p := result.Plan{
			Scenario: result.Broadcast, Connections: 20, Loops: 2, Rate: 100, Warmup: warmup, Duration: period / 4, EventStreams: streams,
		}
		r := simulate(t, p, world{service: fixed(soon), toAll: true, pieces: 7, apart: time.Microsecond})
		wantSane(t, r)
		wantDue(t, "latency", r.Latency, 100, r.Seconds, 20)
		for _, got := range []float64{shortest(r.Latency), r.Latency.Quantile(0.5), r.Latency.Quantile(1)} {
			if got < 1005 || got > 1008 { // the last of 7 pieces
				t.Errorf("event streams %v: a latency of %v us, want 1006", streams, got)
			}
		}
	}
}

// TestEventStreamFlaws: what a server loses or doubles is counted, and what it changes
// ends the event stream, as it does a WebSocket.
func TestEventStreamFlaws(t *testing.T) {
	const content = "wrong echo: the payload is not what was sent"
	for name, tt := range map[string]struct {
		gets       func(payload []byte) [][]byte // one receiver instead of message 10
		want, note string
		missing    int64
		doubled    int64
	}{
		"lost":           {func([]byte) [][]byte { return nil }, "lost: a message of a publisher did not come before a later one", "", 1, 0},
		"doubled":        {func(b []byte) [][]byte { return [][]byte{b, b} }, "doubled: a message came again, or behind a later one of its publisher", "", 0, 1},
		"a byte":         {func(b []byte) [][]byte { b[40] ^= 1; return [][]byte{b} }, content, "byte 40 is ", 0, 0},
		"longer":         {func(b []byte) [][]byte { return [][]byte{append(b, 'x')} }, content, "it is longer than the 64 bytes sent", 0, 0},
		"another line":   {func(b []byte) [][]byte { return [][]byte{append(b, '\n')} }, content, "it is longer than the 64 bytes sent", 0, 0},
		"shorter":        {func(b []byte) [][]byte { return [][]byte{b[:63]} }, content, "it ends after 63 of 64 bytes", 0, 0},
		"in lines":       {func(b []byte) [][]byte { b[30] = '\n'; return [][]byte{b} }, content, `byte 30 is '\n'`, 0, 0},
		"without a head": {func(b []byte) [][]byte { return [][]byte{b[:10]} }, content, "it ends after 10 of 64 bytes", 0, 0},
		"empty":          {func([]byte) [][]byte { return [][]byte{{}} }, content, "it ends after 0 of 64 bytes", 0, 0},
		"huge":           {func([]byte) [][]byte { return [][]byte{make([]byte, 1<<20)} }, content, "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, "lost", "a byte", "in lines", "shorter")
			t.Parallel()
			r := run(t, streaming(t, &hub{to: func(receiver, n int, payload []byte) [][]byte {
				if receiver == 2 && n == 10 {
					return tt.gets(slices.Clone(payload))
				}
				return [][]byte{payload}
			}}), load.Watch{})
			wantTroubles(t, r, result.Trouble{What: tt.want, Count: 1})
			if b := r.Publication; *b.Missing != tt.missing || b.Doubled != tt.doubled || (r.Lost == 1) != (tt.want == content) {
				t.Errorf("publication %+v, %d lost; want %d missing and %d doubled", b, r.Lost, tt.missing, tt.doubled)
			}
			if !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
				t.Errorf("notes %q, want one with %q", r.Notes, tt.note)
			}
		})
	}
}

// eventServer is a scripted one: what the first connection publishes goes to all event
// streams, each in its own way.
type eventServer struct {
	head string                                 // of the answer to a GET
	send func(p *peer, n int, payload []byte)   // to an event stream, the n-th of all messages
	seen func(stream *http.Request, first bool) // may be nil

	mu      sync.Mutex
	streams []*peer
	n       int
}

func (s *eventServer) serve(p *peer) {
	if !p.readRequest() {
		return
	}
	publishes := p.request.Header.Get("Upgrade") != ""
	if s.seen != nil {
		s.seen(p.request, publishes)
	}
	if !publishes {
		s.mu.Lock()
		s.streams = append(s.streams, p)
		p.send([]byte(s.head))
		s.mu.Unlock()
		_, _ = p.in.ReadByte() // the client's end
		return
	}
	p.send([]byte(p.upgraded("")))
	p.echo(func(_ ws.Opcode, payload []byte) []byte {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n++
		for _, stream := range s.streams {
			s.send(stream, s.n, payload)
		}
		return nil
	})
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

// TestEventBodies: bodies in chunks and without, lines that end in each of three ways,
// comments, ids, names and times to retry, all of it cut anywhere.
func TestEventBodies(t *testing.T) {
	leavesNothing(t)
	const chunked = okHead + "transfer-encoding: Chunked\r\n\r\n"
	plain := func(payload []byte) string { return "data: " + string(payload) + "\n\n" }
	inBytes := func(p *peer, s string) {
		for i := range len(s) {
			p.send([]byte{s[i]})
		}
	}
	atOnce := func(p *peer, s string) { p.send([]byte(s)) }
	chunk := func(s string) string { return fmt.Sprintf("%x;x=y\r\n%s\r\n", len(s), s) }
	all := func(payload []byte) string {
		return ": a comment\nretry: 1000\nevent: tick\nid: 77\n\ndata:" + string(payload) + "\nid\nfoo: bar\n\n\n:\n\n"
	}
	for name, tt := range map[string]struct {
		head string
		cut  func(*peer, string)
		text func(payload []byte) string
	}{
		"until the end":      {okHead + "\r\n", atOnce, plain},
		"all that there is":  {"HTTP/1.0 200\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n\r\n\xef\xbb\xbf", inBytes, all},
		"CRLF":               {okHead + "\r\n", inBytes, func(b []byte) string { return strings.ReplaceAll(all(b), "\n", "\r\n") }},
		"CR":                 {"HTTP/1.1 100 Continue\r\n\r\n" + okHead + "\r\n:\r", inBytes, func(b []byte) string { return strings.ReplaceAll(all(b), "\n", "\r") }},
		"chunks":             {chunked, atOnce, func(b []byte) string { return chunk(plain(b)) }},
		"chunks, in bytes":   {chunked, inBytes, func(b []byte) string { return chunk(all(b)) }},
		"chunks of parts":    {chunked, atOnce, func(b []byte) string { s := plain(b); return chunk(s[:30]) + chunk(s[30:31]) + chunk(s[31:]) }},
		"several in a chunk": {chunked + chunk(":\n\n"), inBytes, func(b []byte) string { return chunk(":\n\n"+plain(b)+":") + chunk("\n\n") }},
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, "CRLF", "chunks", "chunks, in bytes")
			t.Parallel()
			s := &eventServer{head: tt.head, send: func(p *peer, _ int, payload []byte) { tt.cut(p, tt.text(payload)) }}
			s.seen = func(r *http.Request, publishes bool) {
				h := r.Header
				if !publishes && (r.Method != "GET" || r.RequestURI != "/feed?a=b" || h.Get("Accept") != sse.ContentType || h.Get("Upgrade") != "" ||
					h.Get("Sec-WebSocket-Key") != "" || h.Get("X") != "y" || h.Get("Origin") != "https://a.example" || r.Host == "") {
					t.Errorf("%s %s %v", r.Method, r.RequestURI, h)
				}
			}
			p := hasty(scripted(t, s.serve) + "feed?a=b")
			p.Scenario, p.EventStreams, p.Rate, p.Header, p.Origin = result.Broadcast, true, 200, []string{"X: y"}, "https://a.example"
			p.ConnectTimeout = patience
			r := run(t, p, load.Watch{})
			wantSane(t, r)
			if b := r.Publication; *b.Missing != 0 || b.Own || r.Count == 0 || r.Opened != 4 {
				t.Errorf("%d deliveries, publication %+v", r.Count, b)
			}
		})
	}
}

// TestEventStreamEnds: however a server ends its event streams, it is told in a line.
func TestEventStreamEnds(t *testing.T) {
	leavesNothing(t)
	end := func(text string) func(p *peer) {
		return func(p *peer) { p.send([]byte(text)); _ = p.CloseWrite() }
	}
	const lastChunk = "0\r\nTrailer: x\r\n\r\n"
	for name, tt := range map[string]struct {
		chunked bool
		end     func(p *peer)
		want    string
	}{
		"the end":              {false, end(""), "the server ended the event stream"},
		"within an event":      {false, end("data: AA"), "the server ended the event stream"},
		"the last chunk":       {true, func(p *peer) { p.send([]byte(lastChunk)) }, "the server ended the event stream"},
		"more behind the last": {true, end(lastChunk + "data: x\n\n"), "the server ended the event stream"},
		"reset":                {false, func(p *peer) { p.drop() }, "the server reset the connection"},
		"no chunk":             {true, end("data: x\n\n"), "wrong event stream: the body is not in chunks"},
		"as millrace does": {false, end("retry: 2000\n\nevent: close\ndata: {\"code\":1001,\"reason\":\"too old\"}\n\n"),
			`closed by the server: 1001 (going away): "too old"`},
		"without a reason": {false, end("event: close\ndata: {\"code\":1001}\n\n"), "closed by the server: 1001 (going away)"},
		"in other words":   {false, end("event:close\ndata: bye\ndata: bye" + strings.Repeat("!", 9) + "\n\n"), `closed by the server: "bye\nbye!!!!!!!!!"`},
		"without an end":   {false, end("event: close\ndata: " + strings.Repeat("bye ", 1<<18)), "the server ended the event stream"},
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, "the end", "the last chunk", "no chunk", "as millrace does")
			t.Parallel()
			head := okHead + "\r\n"
			if tt.chunked {
				head = okHead + "Transfer-Encoding: chunked\r\n\r\n"
			}
			s := &eventServer{head: head}
			s.send = func(p *peer, n int, payload []byte) {
				text := "data: " + string(payload) + "\n\n"
				if tt.chunked {
					text = fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
				}
				if n < 5 {
					p.send([]byte(text))
				} else if n == 5 {
					tt.end(p)
				}
			}
			p := hasty(scripted(t, s.serve))
			p.Scenario, p.EventStreams, p.Rate, p.ConnectTimeout = result.Broadcast, true, 200, patience
			r := run(t, p, load.Watch{})
			wantTroubles(t, r, result.Trouble{What: tt.want, Count: 3})
			if r.Opened != 4 || r.Lost != 3 || r.Failed != 0 {
				t.Errorf("%d opened, %d lost, %d failed", r.Opened, r.Lost, r.Failed)
			}
		})
	}
}

// TestEventAnswers: an answer that is no event stream is told with its body and what to
// try, and the run ends.
func TestEventAnswers(t *testing.T) {
	leavesNothing(t)
	const body = "Content-Length: 3\r\n\r\nno!"
	const asked, hint = `the server's answer to the GET of an event stream was `, "; are there event streams at /feed? try another path, or leave out --event-streams"
	for name, tt := range map[string]struct {
		answer     string
		want, note string
	}{
		"404":           {"HTTP/1.1 404 Not Found\r\n" + body, "event stream: refused with 404 Not Found", asked + `404 Not Found: "no!"; try another path than /feed`},
		"426":           {"HTTP/1.1 426 Upgrade Required\r\n" + body, "event stream: refused with 426 Upgrade Required", asked + `426 Upgrade Required: "no!"` + hint},
		"406":           {"HTTP/1.1 406 \r\n" + body, "event stream: refused with 406", asked + `406: "no!"` + hint},
		"204":           {"HTTP/1.1 204 No Content\r\n\r\n", "event stream: refused with 204 No Content", asked + "204 No Content, without a body" + hint},
		"a page":        {"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n" + body, `event stream: refused with 200 OK, which is no event stream: its Content-Type is "text/html"`, `"text/html": "no!"` + hint},
		"of no type":    {"HTTP/1.1 200 OK\r\n" + body, `event stream: refused with 200 OK, which is no event stream: its Content-Type is ""`, hint},
		"compressed":    {okHead + "Content-Encoding: gzip\r\n" + body, `event stream: refused with 200 OK, an event stream whose Content-Encoding is "gzip"`, hint},
		"coded":         {okHead + "Transfer-Encoding: gzip, chunked\r\n" + body, `event stream: refused with 200 OK, an event stream whose Transfer-Encoding is "gzip, chunked"`, hint},
		"an upgrade":    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "event stream: 101 without exactly one Upgrade: websocket", ""},
		"not HTTP":      {"data: x\n\n", "event stream: the answer is not HTTP", "right port?"},
		"half of it":    {"HTTP/1.1 200 OK\r\nContent-Type: text/", "event stream: the server ended the connection without a full answer", ""},
		"a long head":   {okHead + "X: " + strings.Repeat("x", 20000) + "\r\n\r\n", "event stream: the response's head is longer than 16384 bytes", ""},
		"a redirection": {"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n", "event stream: refused with 302 Found", `it redirects to "/there": try that`},
	} {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, "404", "a page", "not HTTP")
			t.Parallel()
			p := hasty(scripted(t, func(p *peer) {
				switch {
				case !p.readRequest():
				case p.request.Header.Get("Upgrade") == "":
					p.send([]byte(tt.answer))
				default:
					p.send([]byte(p.upgraded("")))
					p.echo(whole)
				}
			}) + "feed")
			p.Scenario, p.EventStreams, p.Duration, p.ConnectTimeout = result.Broadcast, true, time.Hour, patience
			p.Timeout = patience
			r := run(t, p, load.Watch{})
			wantTroubles(t, r, result.Trouble{What: tt.want, Count: 3})
			if r.Opened != 1 || r.Failed != 3 || !strings.HasPrefix(r.EndedEarly, "no event stream was open, ") {
				t.Errorf("%d opened, %d failed, ended early %q", r.Opened, r.Failed, r.EndedEarly)
			}
			if !strings.Contains(strings.Join(r.Notes, "\n"), tt.note) {
				t.Errorf("notes %q, want one with %q", r.Notes, tt.note)
			}
		})
	}
}

// TestEventStreamSilence: event streams to which nothing comes end the run.
func TestEventStreamSilence(t *testing.T) {
	for _, processes := range []int{0, 2} {
		s := &eventServer{head: okHead + "\r\n", send: func(*peer, int, []byte) {}}
		p := hasty(scripted(t, s.serve))
		p.Scenario, p.EventStreams, p.Processes, p.Duration, p.FirstReply = result.Broadcast, true, processes, time.Minute, 300*time.Millisecond
		r := run(t, p, load.Watch{})
		wantTrouble(t, r, "no message arrived at another connection within 300ms, of ")
		wantNote(t, r, "broadcast --event-streams needs a server that ")
	}
}
