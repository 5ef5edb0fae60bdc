package server_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

var bothTakeOver = &server.Deflate{ServerTakeover: true, ClientTakeover: true}

// TestDeflate: messages go to and fro whatever is agreed upon, and the statistics
// tell how many of them compressed.
func TestDeflate(t *testing.T) {
	const none = "; server_no_context_takeover; client_no_context_takeover"
	cases := []struct {
		name    string
		deflate *server.Deflate
		offer   string
		answer  string
	}{
		{"off", nil, offerDeflate, ""},
		{"nothing offered", bothTakeOver, "x-other", ""},
		{"a bad offer", bothTakeOver, "permessage-deflate; server_max_window_bits=7", ""},
		{"a second offer", bothTakeOver, "permessage-deflate; server_max_window_bits=16, permessage-deflate", "permessage-deflate"},
		{"zero value", &server.Deflate{}, offerDeflate, "permessage-deflate" + none},
		{"takeover", bothTakeOver, offerDeflate, "permessage-deflate"},
		{"of the server", &server.Deflate{ServerTakeover: true}, offerDeflate, "permessage-deflate; client_no_context_takeover"},
		{"of the client", &server.Deflate{ClientTakeover: true}, offerDeflate, "permessage-deflate; server_no_context_takeover"},
		{"refused by the client", bothTakeOver, "permessage-deflate" + none, "permessage-deflate" + none},
		{"small window", bothTakeOver, "permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"},
		{"small window, no takeover", &server.Deflate{ServerMaxWindowBits: 8}, "permessage-deflate", "permessage-deflate" + none + "; server_max_window_bits=8"},
		{"whole window", &server.Deflate{ServerTakeover: true, ClientTakeover: true, ServerMaxWindowBits: 15, Level: 9}, offerDeflate, "permessage-deflate"},
	}
	for _, c := range cases {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stream %v", c.name, stream), func(t *testing.T) {
				t.Parallel()
				n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
					s.Deflate, s.Handler = c.deflate, inPieces(stream, &gatherer{})
				})
				d := dialDeflating(t, n, addr, c.offer)
				if d.answer != c.answer {
					t.Fatalf("%q is answered with %q, not %q", c.offer, d.answer, c.answer)
				}
				exchangeDeflated(t, n, d, srv)
				d.send(frame(opClose, ""))
				d.expectClose(1005)
				eventually(t, "the windows are free", func() bool { return srv.Stats().Windows == 0 })
			})
		}
	}
}

// TestDeflateOnSockets is TestDeflate on whatever connections the server is given
// in this run: sockets, TLS, streams of HTTP/2.
func TestDeflateOnSockets(t *testing.T) {
	t.Parallel()
	onTransports(t, testDeflateOnSockets)
}

func testDeflateOnSockets(t *testing.T, serve serving) {
	t.Parallel()
	for _, deflate := range []*server.Deflate{{}, bothTakeOver} {
		addr, srv := serve(t, func(s *server.Server) { s.Deflate = deflate })
		d := deflating(dial(t, addr), offerDeflate)
		for i := range 30 {
			message := news(i*i*200, uint64(i/3))
			d.sendPacked(opText, message, i%3*500)
			if d.expectMessage(opText, message); i > 3 && !d.packed {
				t.Errorf("message %d is not compressed", i)
			}
		}
		d.send(frame(opClose, closePayload(1000, "")))
		d.expectClose(1000)
		eventually(t, "the windows are free", func() bool { return srv.Stats().Windows == 0 })
	}
}

// exchangeDeflated has messages echoed, some of them compressed, and checks what
// the server has counted.
func exchangeDeflated(t *testing.T, n *simnet.Network, d *deflater, srv *server.Server) {
	t.Helper()
	var in, out server.Compressed
	for i := range 30 {
		message := news(i*i*37, uint64(i/3))
		if d.answer != "" && i%4 > 0 {
			d.sendPacked(opText, message, i%3*50)
			in.Messages++
			in.Bytes += uint64(len(message))
		} else {
			d.send(frame(opText, message))
		}
		if d.expectMessage(opText, message); d.packed {
			out.Messages++
			out.Bytes += uint64(len(message))
			out.Packed += uint64(d.wire)
		}
		if large := d.answer != "" && len(message) > 300; large != d.packed && (large || len(message) < 128) {
			t.Errorf("message of %d bytes: compressed %v", len(message), d.packed)
		}
	}
	idle(t, n)
	eventually(t, "no slow turn", func() bool { return srv.Stats().Workers.Held == 0 })
	s := srv.Stats()
	if s.Inflated.Messages != in.Messages || s.Inflated.Bytes != in.Bytes || (s.Inflated.Packed < s.Inflated.Bytes) != (in.Messages > 0) {
		t.Errorf("inflated %+v, want %+v", s.Inflated, in)
	}
	if headers := s.Deflated.Packed - out.Packed; s.Deflated.Messages != out.Messages || s.Deflated.Bytes != out.Bytes || headers > 4*out.Messages {
		t.Errorf("deflated %+v, want %+v", s.Deflated, out)
	}
}

// gatherer echoes whole messages, in whatever pieces they come.
type gatherer struct {
	echo
	pieces sync.Map
}

func (g *gatherer) Message(c *server.Conn, m ws.Message) {
	before, _ := g.pieces.LoadAndDelete(c)
	whole, _ := before.(string)
	whole += string(m.Payload)
	if m.More {
		g.pieces.Store(c, whole)
		return
	}
	_ = c.Send(m.Opcode, []byte(whole)) // closing: the test sees
}

// TestDeflateRefuses: what is wrong with compression closes, with the code that
// says what, and the next connection's messages are read as if nothing had been.
func TestDeflateRefuses(t *testing.T) {
	t.Parallel()
	packed := func(message string) string { return (&deflater{client: &client{t: t}}).pack(message) }
	bomb := packed(strings.Repeat("\x00", 8<<20))
	var split strings.Builder
	split.WriteString(fragment(opBinary|rsv1, bomb[:1]))
	for at := 1; at < len(bomb); at += 8 {
		split.WriteString(fragment(opContinuation, bomb[at:min(at+8, len(bomb))]))
	}
	cases := []struct {
		name, wire string
		code       uint16
	}{
		{"bomb", frame(opBinary|rsv1, bomb), 1009},
		{"bomb in fragments", split.String() + frame(opContinuation, ""), 1009},
		{"corrupt", frame(opBinary|rsv1, "\x06"), 1007},
		{"truncated", frame(opBinary|rsv1, packed(news(5000, 1))[:700]), 1007},
		{"not UTF-8", frame(opText|rsv1, packed("abc\xff")), 1007},
		{"RSV2", frame(opText|0x20, "abc"), 1002},
		{"RSV1 on a continuation", fragment(opText|rsv1, "a") + frame(opContinuation|rsv1, "b"), 1002},
		{"RSV1 on a ping", frame(opPing|rsv1, ""), 1002},
	}
	for _, stream := range []bool{false, true} {
		n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Deflate, s.Handler, s.Runtime.Loops = bothTakeOver, inPieces(stream, &gatherer{}), 1
		})
		for _, c := range cases {
			d := dialDeflating(t, n, addr, offerDeflate)
			d.send(c.wire)
			if op, payload := d.message(); op != opClose || payload[:2] != closePayload(c.code, "") {
				t.Errorf("%s, stream %v: frame %x %q, want %d", c.name, stream, op, payload, c.code)
			}
			next := dialDeflating(t, n, addr, offerDeflate)
			message := news(3000, 2)
			next.sendPacked(opText, message, 0)
			next.expectMessage(opText, message)
			plain := dialSim(t, n, addr).upgraded()
			plain.send(frame(opText|rsv1, packed("abc")))
			plain.expectClose(1002)
		}
	}
}

// TestDeflatePieces: a compressed message in reads of every size, with what comes
// behind it.
func TestDeflatePieces(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) { s.Deflate = bothTakeOver })
	message := news(300, 3)
	wire := frame(opText|rsv1, (&deflater{client: &client{t: t}}).pack(message)) + frame(opPing, "p")
	for size := 1; size < len(wire); size += 1 + size/8 {
		d := dialDeflating(t, n, addr, offerDeflate)
		for at := 0; at < len(wire); at += size {
			d.send(wire[at:min(at+size, len(wire))])
			idle(t, n)
		}
		d.expectMessage(opText, message)
		d.expect(opPong, "p")
	}
}

// TestDeflateDropped: with takeover a message that does not fit into the queue is
// not in the context either, so what comes through later is read all right.
func TestDeflateDropped(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 2 << 10, RecvBuffer: 2 << 10}, func(s *server.Server) {
		s.Deflate = bothTakeOver
		s.Queue.Max, s.Queue.Policy = 20<<10, server.DropNewest
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }}
	})
	d := dialDeflating(t, n, addr, offerDeflate)
	c := <-conns
	var accepted []string
	dropped := 0
	for i := range 100 {
		message := news(2000+i, uint64(i%7))
		switch err := c.Send(ws.Text, []byte(message)); err {
		case nil:
			accepted = append(accepted, message)
		case server.ErrQueueFull:
			dropped++
		default:
			t.Fatal(err)
		}
		if i == 60 { // some room again
			for range 10 {
				d.expectMessage(opText, accepted[0])
				accepted = accepted[1:]
			}
			idle(t, n)
		}
	}
	if dropped == 0 || len(accepted) < 20 {
		t.Fatalf("%d dropped, %d still queued: nothing is tested", dropped, len(accepted))
	}
	for _, message := range accepted {
		if d.expectMessage(opText, message); !d.packed {
			t.Fatal("not compressed")
		}
	}
	large := []byte(strings.Repeat("x", 20<<10+1))
	if err := c.Send(ws.Text, large); err != server.ErrMessageTooBig {
		t.Errorf("a message above MaxQueue, however small compressed: %v", err)
	}
	if err := c.SendPrepared(ws.Prepare(ws.Text, large)); err != server.ErrMessageTooBig {
		t.Errorf("the same, prepared: %v", err)
	}
	if got := srv.Stats().Dropped; got != uint64(dropped+2) {
		t.Errorf("%d dropped, want %d", got, dropped+2)
	}
}

// TestDeflateOverflow: a peer that reads too slowly gets whole compressed frames
// that it can read, and then its close frame.
func TestDeflateOverflow(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, _ := startSim(t, simnet.Config{SendBuffer: 3 << 10, RecvBuffer: 3 << 10}, func(s *server.Server) {
		s.Deflate = bothTakeOver
		s.Queue.Max = 16 << 10
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }}
	})
	d := dialDeflating(t, n, addr, offerDeflate)
	c := <-conns
	sent := 0
	for c.Send(ws.Text, []byte(news(2500, uint64(sent%5)))) == nil {
		sent++
	}
	for i := range sent {
		op, got := d.message()
		if op == opClose {
			if got[:2] != closePayload(1008, "") || i == 0 {
				t.Errorf("closed with %q behind %d messages", got, i)
			}
			return
		}
		if want := news(2500, uint64(i%5)); got != want || !d.packed {
			t.Fatalf("message %d: %.80q, want %.80q", i, got, want)
		}
	}
	t.Errorf("all of %d messages, and no close frame", sent)
}

// TestDeflateWindows: beyond MaxWindows clients are served without takeover, until
// a connection with it has ended.
func TestDeflateWindows(t *testing.T) {
	t.Parallel()
	const each = 8<<10 + 32<<10
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Deflate = &server.Deflate{ServerTakeover: true, ClientTakeover: true, MaxWindows: 2*each + 1}
	})
	expect := func(what string, got any, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	first := dialDeflating(t, n, addr, offerDeflate)
	second := dialDeflating(t, n, addr, offerDeflate)
	expect("windows of two", srv.Stats().Windows, int64(2*each))
	third := dialDeflating(t, n, addr, offerDeflate)
	expect("answer to the third", third.answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	expect("limit", srv.Stats().Limits[server.LimitWindows], uint64(1))
	small := dialDeflating(t, n, addr, "permessage-deflate; server_max_window_bits=9; client_no_context_takeover")
	expect("answer to one with a small window", small.answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9")
	for i := range 5 {
		for _, d := range []*deflater{first, second, third, small} {
			d.sendPacked(opText, news(2000, uint64(i)), 0)
			d.expectMessage(opText, news(2000, uint64(i)))
		}
	}
	first.reset()
	eventually(t, "a window is free", func() bool { return srv.Stats().Windows == each })
	expect("answer to the next", dialDeflating(t, n, addr, offerDeflate).answer, "permessage-deflate")
	for range 3 {
		d := dialSim(t, n, addr)
		d.send("GET / HTTP/1.1\r\nHost: a\r\n" + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
		d.expectRefusal(426)
	}
	expect("windows of two", srv.Stats().Windows, int64(2*each))
}

// TestNoDeflate: a connection can be left out, and each tells what it has.
func TestNoDeflate(t *testing.T) {
	t.Parallel()
	agreed := make(chan ws.DeflateParams, 1)
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Deflate = &server.Deflate{}
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			return server.Accept{NoDeflate: r.RawQuery() == "plain", Handler: handler{open: func(c *server.Conn) { agreed <- c.Deflate() }}}, nil
		}
	})
	d := dialDeflating(t, n, addr, "permessage-deflate; server_max_window_bits=10")
	p := <-agreed
	if !p.Agreed() || !p.ServerNoContextTakeover || !p.ClientNoContextTakeover || p.ServerMaxWindowBits != 10 || p.ClientMaxWindowBits != 15 {
		t.Errorf("%q is agreed upon, the connection has %+v", d.answer, p)
	}
	c := dialSim(t, n, addr)
	c.send(strings.Replace(upgradeRequest("Sec-WebSocket-Extensions: permessage-deflate"), "GET / ", "GET /?plain ", 1))
	c.expectSwitch() // fails at an extension
	if p := <-agreed; p.Agreed() {
		t.Errorf("without compression the connection has %+v", p)
	}
}

// TestDeflatePrepared: one compressed form goes to all that agreed alike, those
// with a context included, where each message is in step with the others; many
// send at the same time, and connections come and go.
func TestDeflatePrepared(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	conns := map[*server.Conn]bool{}
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1 << 20, RecvBuffer: 1 << 20}, func(s *server.Server) {
		s.Deflate, s.Queue.Max = bothTakeOver, 8<<20
		s.Handler = handler{
			open:  func(c *server.Conn) { mu.Lock(); conns[c] = true; mu.Unlock() },
			close: func(c *server.Conn, _ error) { mu.Lock(); delete(conns, c); mu.Unlock() },
		}
	})
	var clients []*deflater
	for _, offer := range []string{offerDeflate, offerDeflate, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_max_window_bits=9", "none"} {
		clients = append(clients, dialDeflating(t, n, addr, offer), dialDeflating(t, n, addr, offer))
	}
	const rounds, senders = 20, 4
	var group sync.WaitGroup
	var failed atomic.Int64
	for sender := range senders {
		group.Go(func() {
			for i := range rounds {
				message := []byte(news(500+100*i, uint64(i)))
				p := ws.Prepare(ws.Text, message)
				mu.Lock()
				for c := range conns {
					if c.SendPrepared(p) != nil || (i+sender)%5 == 0 && c.Send(ws.Text, message) != nil {
						failed.Add(1)
					}
				}
				mu.Unlock()
			}
		})
	}
	for range 20 {
		dialDeflating(t, n, addr, offerDeflate).reset()
	}
	group.Wait()
	want := map[string]int{}
	for sender := range senders {
		for i := range rounds {
			want[news(500+100*i, uint64(i))]++
			if (i+sender)%5 == 0 {
				want[news(500+100*i, uint64(i))]++
			}
		}
	}
	for i, d := range clients {
		got, total := map[string]int{}, 0
		for _, times := range want {
			total += times
		}
		for range total {
			_, message := d.message()
			got[message]++
		}
		for message, times := range want {
			if got[message] != times {
				t.Fatalf("client %d got a message %d times, not %d", i, got[message], times)
			}
		}
	}
	t.Logf("%d sends to connections that had ended; %+v", failed.Load(), srv.Stats().Deflated)
}

// TestGroupEnvelopeTooLargeForQueue: a message whose envelope alone is too large for the queue is left out, and the
// compression context knows nothing of it.
func TestGroupEnvelopeTooLargeForQueue(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Handler, srv.Limits.Message, srv.Queue.Max, srv.Queue.HighWater = opened(conns), 9000, 10_000, 2000
		srv.Keepalive.Interval = -1
		srv.Deflate = &server.Deflate{ServerTakeover: true, Level: 9}
		srv.Upgrade = acceptAs(server.Accept{Enveloped: true})
	})
	d := dialDeflating(t, n, addr, offerDeflate)
	c := <-conns
	g := srv.NewGroup(server.GroupOptions{})
	if _, err := g.Join(c); err != nil {
		t.Fatal(err)
	}
	idle(t, n) // the join is settled: what follows comes by a pass, compressed
	payload := make([]byte, 10_000)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(payload)                           // it never fails
	text := base64.StdEncoding.EncodeToString(payload) // 13,336 bytes, and some 10,050 compressed
	p := ws.PrepareWith(ws.Binary, payload, ws.PrepareOptions{Envelope: func() []byte { return []byte(text) }})
	if _, err := g.Send(p); err != nil {
		t.Fatal(err)
	}
	idle(t, n)
	if got := srv.Stats().Group.DroppedNewest; got != 1 {
		t.Errorf("%d messages were dropped, want 1", got)
	}
	again := text[len(text)-1000:] // it would be found in the context
	if err := c.SendText(again); err != nil {
		t.Fatal(err)
	}
	d.expectMessage(opText, again)
}
