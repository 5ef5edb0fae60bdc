package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// TestEventStream: what is sent to an event stream comes as events, and its ends are told on
// both sides, whatever carries it.
func TestEventStream(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
		dial, srv := start(t, withEvents(func(srv *server.Server) {
			srv.Handler = closeCauses(conns, causes)
			srv.Deflate = &server.Deflate{Threshold: -1}
			srv.Subprotocols = []string{"chat"}
		}))
		client := dial().streamed("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate")
		c := <-conns
		if !c.IsEventStream() || c.Subprotocol() != "" || c.Deflate().Agreed() {
			t.Errorf("event stream %v, subprotocol %q, deflate %v", c.IsEventStream(), c.Subprotocol(), c.Deflate())
		}
		for _, text := range []string{"hello", "", "a\nb\n", strings.Repeat("long ", 100_000)} {
			if err := c.SendText(text); err != nil {
				t.Fatal(err)
			}
			client.expectData(text)
		}
		if err := c.SendJSON(map[string]int{"a": 1}); err != nil {
			t.Error(err)
		}
		if err := c.SendPrepared(ws.PrepareWith(ws.Text, []byte("prepared"), ws.PrepareOptions{ID: "e-1"})); err != nil {
			t.Error(err)
		}
		client.expectData(`{"a":1}`, "prepared")
		if err := c.SendEvent(sse.Event{Name: "tick", ID: "e-2", Data: []byte("1"), Retry: time.Second}); err != nil {
			t.Error(err)
		}
		if e := client.next(); e.Name != "tick" || e.ID != "e-2" || string(e.Data) != "1" || e.Retry != time.Second {
			t.Errorf("got %+v", e)
		}
		expectNotSent(t, c)
		if err := c.Close(3000, "token\nexpired"); err != nil {
			t.Error(err)
		}
		client.expectOver(`{"code":3000,"reason":"token\nexpired"}`)
		expectCause(t, causes, 3000, false)
		if err := c.SendText("late"); !errors.Is(err, server.ErrClosed) {
			t.Errorf("SendText after the end: %v", err)
		}
		eventually(t, "it is gone", func() bool { return srv.Stats().Open == 0 })
		if s := srv.Stats(); s.Upgraded != 0 || len(s.Closes) != 0 || s.EventStreams != (server.EventStreamStats{Opened: 1, Ended: 1}) {
			t.Errorf("%d upgraded, %v closed, %+v", s.Upgraded, s.Closes, s.EventStreams)
		}
	})
}

// expectNotSent tries what an event stream can not be sent.
func expectNotSent(t *testing.T, c *server.Conn) {
	t.Helper()
	for what, test := range map[string]struct{ err, want error }{
		"binary":          {c.SendBinary([]byte("x")), server.ErrOpcode},
		"prepared binary": {c.SendPrepared(ws.Prepare(ws.Binary, nil)), server.ErrOpcode},
		"an id":           {c.SendEvent(sse.Event{ID: "a\nb"}), sse.ErrID},
		"a name":          {c.SendEvent(sse.Event{Name: "\x00"}), sse.ErrName},
		"a retry":         {c.SendEvent(sse.Event{Retry: -1}), sse.ErrRetry},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v, want %v", what, test.err, test.want)
		}
	}
}

// TestEventStreamLeft: a client leaves by ending the connection, however it does, and
// nothing that it says before is a message.
func TestEventStreamLeft(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
		dial, srv := start(t, withEvents(func(srv *server.Server) {
			srv.Handler = closeCauses(conns, causes)
			srv.Timeouts.Idle = time.Millisecond
			srv.Limits.MessageRate, srv.Limits.ByteRate = 1, 2<<20
		}))
		for what, leave := range map[string]func(*eventClient){
			"close":          func(c *eventClient) { _ = c.Close() },
			"words, close":   func(c *eventClient) { c.send(frame(opText, "hi") + eventRequest("/")); _ = c.Close() },
			"a byte, closed": func(c *eventClient) { c.send("x"); _ = c.Close() },
		} {
			client := dial().streamed()
			c := <-conns
			_ = c.SendText("first")
			client.expectData("first")
			leave(client)
			var end *ws.CloseError
			if err := <-causes; !errors.As(err, &end) || end.Code != ws.CodeNoStatus && end.Code != ws.CodeAbnormal || !server.ClosedByPeer(err) {
				t.Errorf("%s: closed with %v", what, err)
			}
		}
		eventually(t, "all are gone", func() bool { return srv.Stats().Open == 0 })
		if s := srv.Stats(); s.MessagesIn != 0 || s.EventStreams.Left != 3 || s.EventStreams.Open != 0 {
			t.Errorf("%d messages, %+v", s.MessagesIn, s.EventStreams)
		}
	})
}

// TestEventStreamFlood: what comes behind the request is thrown away within a bound.
func TestEventStreamFlood(t *testing.T) {
	onBoth(t, func(t *testing.T, start starter) {
		conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
		dial, _ := start(t, withEvents(func(srv *server.Server) { srv.Handler = closeCauses(conns, causes) }))
		client := dial().streamed()
		client.send(strings.Repeat("x", 60<<10))
		_ = (<-conns).SendText("still here")
		client.expectData("still here")
		go func() { _, _ = client.Write([]byte(strings.Repeat("x", 300<<10))) }() // ends with the connection
		expectCause(t, causes, ws.CodePolicy, false)
		if e, err := client.events.Next(); err == nil && e.Name != "close" {
			t.Errorf("event %q %q", e.Name, e.Data)
		}
	})
}

// TestEventStreamBehind: a request that came in one segment with others, and in pieces.
func TestEventStreamBehind(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, _ := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) { srv.Handler = opened(conns) }))
	request := eventRequest("/a?b=c", "Last-Event-ID: e-7", "X-Padding: "+strings.Repeat("x", 1000))
	c := dialSim(t, n, addr)
	for _, b := range []byte(request) {
		c.send(string(b))
		idle(t, n)
	}
	c.expectStream()
	<-conns
	c = dialSim(t, n, addr)
	c.send(request + request)
	stream := c.expectStream()
	_ = (<-conns).SendText("one")
	stream.expectData("one")
}

// TestEventStreamHook: the hook sees the request, its answer decides, and a wrong one is
// told to the log.
func TestEventStreamHook(t *testing.T) {
	for _, test := range []struct {
		name, request string
		hook          func(r *ws.Request) (server.Accept, error)
		status        int // 200: an event stream
		logged        string
	}{
		{"accepted", eventRequest("/"), acceptAs(server.Accept{Header: http.Header{"Access-Control-Allow-Origin": {"*"}}}), 200, ""},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n", acceptAs(server.Accept{}), 200, ""},
		{"refused", eventRequest("/"), func(*ws.Request) (server.Accept, error) {
			return server.Accept{}, &ws.Refusal{Status: 204}
		}, 204, ""},
		{"no event stream", eventRequest("/"), func(*ws.Request) (server.Accept, error) { return server.Accept{}, nil }, 500, "has no EventStream"},
		{"no WebSocket", upgradeRequest(), func(*ws.Request) (server.Accept, error) {
			return server.Accept{EventStream: true}, nil
		}, 500, "is for a WebSocket"},
		{"a header of its own", eventRequest("/"), acceptAs(server.Accept{Header: http.Header{"Content-Type": {"text/plain"}}}), 500, "Content-Type"},
		{"a subprotocol", eventRequest("/"), acceptAs(server.Accept{Subprotocol: "chat"}), 500, "subprotocol"},
		{"left to HTTP", eventRequest("/"), func(*ws.Request) (server.Accept, error) { return server.Accept{}, server.ErrUseHTTP }, 404, ""},
		{"a body", eventRequest("/", "Content-Length: 1"), nil, 400, ""},
		{"two origins", eventRequest("/", "Origin: https://a", "Origin: https://b"), nil, 400, ""},
		{"another origin", eventRequest("/", "Origin: https://evil.example"), nil, 403, ""},
		{"a page that hides its origin", eventRequest("/", "Sec-Fetch-Site: cross-site"), nil, 403, ""},
		{"a page of this origin", eventRequest("/", "Sec-Fetch-Site: same-origin"), nil, 200, ""},
		{"a plain request", "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", nil, 426, ""},
		{"a POST", "POST / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nContent-Length: 0\r\n\r\n", nil, 426, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &logBook{}
			n, addr, srv := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) {
				srv.Upgrade, srv.Logger = test.hook, log.logger()
			}))
			c := dialSim(t, n, addr)
			c.send(test.request)
			if test.status == 200 {
				stream := c.expectStream()
				if h := stream.resp.Header; test.name == "accepted" && h.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("header %v", h)
				}
				if !stream.resp.Close || stream.resp.Header.Get("Date") == "" {
					t.Error("without Connection: close, or Date")
				}
			} else {
				c.expectRefusal(test.status)
			}
			_ = c.Close()
			if got := log.String(); !strings.Contains(got, test.logged) {
				t.Errorf("logged %q", got)
			}
			eventually(t, "it is gone", func() bool { return srv.Stats().Open == 0 })
		})
	}
}

// TestNoEventStreams: without Server.EventStreams such a request is a plain one.
func TestNoEventStreams(t *testing.T) {
	n, addr, _ := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Upgrade = func(*ws.Request) (server.Accept, error) {
			t.Error("the hook is asked")
			return server.Accept{EventStream: true}, nil
		}
	})
	c := dialSim(t, n, addr)
	c.send(eventRequest("/"))
	c.expectReason(http.StatusUpgradeRequired, "no event stream (Server.EventStreams is off)")
}

// TestEventStreamRequest: the hook and Open see where the client was.
func TestEventStreamRequest(t *testing.T) {
	onTransports(t, func(t *testing.T, serve serving) {
		seen := make(chan string, 2)
		look := func(r *ws.Request) { seen <- fmt.Sprint(r.Header("Last-Event-ID"), " ", r.Query().Get("topic")) }
		addr, _ := serve(t, withEvents(func(srv *server.Server) {
			srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
				look(r)
				return server.Accept{EventStream: true, Handler: handler{open: func(c *server.Conn) { look(c.Request()) }}}, nil
			}
		}))
		c := dial(t, addr)
		c.send(eventRequest("/topics?topic=a%2Fb", "Last-Event-ID: 5c-17"))
		c.expectStream()
		for range 2 {
			if got := <-seen; got != "5c-17 a/b" {
				t.Errorf("got %q", got)
			}
		}
	})
}

// TestEventStreamKeepalive: a silent stream has a comment in each interval, with all of which it
// lives, and whose peer's side takes nothing is given up.
func TestEventStreamKeepalive(t *testing.T) {
	causes := make(chan error, 1)
	n, addr, srv := startSim(t, simnet.Config{AckOnRead: true}, withEvents(func(srv *server.Server) {
		srv.Keepalive.Interval = 10 * time.Second
		srv.Handler = handler{close: func(_ *server.Conn, err error) { causes <- err }}
	}))
	c := dialSim(t, n, addr).streamed()
	for range 10 {
		pass(t, n, 7900*time.Millisecond)
		if c.buffered() != 0 {
			t.Error("something was sent within 80 % of the interval")
		}
		pass(t, n, 4200*time.Millisecond)
		if got := c.buffered(); got != len(sse.Comment) {
			t.Fatalf("%d bytes were sent after 120 %% of the interval, want a comment", got)
		}
		for _, b := range []byte(sse.Comment) {
			if got, err := c.r.ReadByte(); err != nil || got != b {
				t.Fatalf("read %q, %v", got, err)
			}
		}
		idle(t, n)
	}
	if conns, err := srv.Conns(t.Context(), server.ByAge, 1); err != nil || len(conns) != 1 || conns[0].Silent < 2*time.Minute {
		t.Errorf("silent: %+v, %v; our own comments are no signs of life", conns, err)
	}
	pass(t, n, 12*time.Second) // a comment that nobody takes
	pass(t, n, 12*time.Second) // which is noted
	if srv.Stats().Open != 1 {
		t.Error("it was given up after one interval without an acknowledgement")
	}
	pass(t, n, 14*time.Second)
	expectCause(t, causes, ws.CodeAbnormal, false)
	if s := srv.Stats(); s.Open != 0 || s.Dead != 1 || s.Pings != 0 || s.EventStreams.Comments < 11 || s.EventStreams.Left != 1 {
		t.Errorf("%d open, %d dead, %d pings, %+v", s.Open, s.Dead, s.Pings, s.EventStreams)
	}
}

// TestEventStreamSlow: a peer that reads nothing is cut at the write deadline, or by its queue's policy
// with an event that says so, behind whole events.
func TestEventStreamSlow(t *testing.T) {
	conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000, RecvBuffer: 1000}, withEvents(func(srv *server.Server) {
		srv.Handler = closeCauses(conns, causes)
		srv.Queue.Max, srv.Queue.HighWater = 20_000, 1000
	}))
	slow := dialSim(t, n, addr).streamed()
	c := <-conns
	for i := 0; ; i++ {
		err := c.SendText(fmt.Sprint(i, strings.Repeat("x", 700)))
		if errors.Is(err, server.ErrQueueFull) {
			break
		} else if err != nil || i > 100 {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if srv.Stats().Paused != 0 {
		t.Error("an event stream is paused")
	}
	expectCause(t, causes, ws.CodePolicy, false)
	for i := 0; ; i++ {
		e := slow.next()
		if e.Name == "close" && strings.Contains(string(e.Data), "reading too slowly") && i > 0 {
			break
		} else if string(e.Data) != fmt.Sprint(i, strings.Repeat("x", 700)) {
			t.Fatalf("event %d: %q %q", i, e.Name, e.Data)
		}
	}
	slow.expectNothing()

	stalled := dialSim(t, n, addr).streamed()
	c = <-conns
	for range 10 {
		_ = c.SendText(strings.Repeat("x", 700))
	}
	pass(t, n, 31*time.Second)
	expectCause(t, causes, ws.CodeAbnormal, false)
	_ = stalled.Close()
	_ = srv
}

// TestEventStreamTooBig: an event that is larger than the queue may be ends the stream with 1009.
func TestEventStreamTooBig(t *testing.T) {
	conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
	n, addr, _ := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) {
		srv.Handler = closeCauses(conns, causes)
		srv.Queue.Max = 2 << 20
	}))
	client := dialSim(t, n, addr).streamed()
	c := <-conns
	if err := c.SendText(strings.Repeat("x", 2<<20+100)); !errors.Is(err, server.ErrMessageTooBig) {
		t.Errorf("SendText: %v", err)
	}
	client.expectOver(`{"code":1009,"reason":"a message is larger than the outbound queue may be"}`)
	expectCause(t, causes, ws.CodeTooBig, false)
}

// TestEventStreamDrain: a drain has clients come back, each at a time of its own, and
// ends their streams politely.
func TestEventStreamDrain(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		dial, srv := start(t, withEvents(func(srv *server.Server) { srv.Handler = opened(conns) }))
		clients, _ := streamSome(dial, conns, 8)
		drained := make(chan error, 1)
		go func() { drained <- srv.Drain(context.Background(), server.DrainOptions{Code: 1012, Reason: "restart"}) }()
		retries := map[time.Duration]bool{}
		for _, c := range clients {
			c.expectOver(`{"code":1012,"reason":"restart"}`)
			retry := c.events.Retry()
			if retry < time.Second || retry > 5*time.Second {
				t.Errorf("retry %v", retry)
			}
			retries[retry] = true
		}
		if len(retries) < 2 {
			t.Errorf("all come back after %v", retries)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if p := srv.DrainProgress(); p.Cut != 0 || p.Closed != uint64(len(clients)) {
			t.Errorf("%+v", p)
		}
	})
}

// TestEventStreamPing: what is asked of a WebSocket alone does no harm.
func TestEventStreamPing(t *testing.T) {
	conns := make(chan *server.Conn, 2)
	n, addr, _ := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) { srv.Handler = opened(conns) }))
	client := dialSim(t, n, addr).streamed()
	c := <-conns
	c.PauseReading()
	if err := c.Ping([]byte("\n\ndata: x\n\n")); err != nil {
		t.Error(err)
	}
	_ = c.SendText("behind")
	client.expectData("behind")
	_ = client.Close()
	eventually(t, "the end is seen", func() bool { return errors.Is(c.SendText(""), server.ErrClosed) })

	socket := dialSim(t, n, addr).upgraded()
	c = <-conns
	if err := c.SendEvent(sse.Event{Data: []byte("x")}); !errors.Is(err, server.ErrNotEventStream) || c.IsEventStream() {
		t.Errorf("SendEvent to a WebSocket: %v", err)
	}
	_ = socket.Close()
}

// TestEventStreamLimits: a place and a rate that are used up hold for event streams too.
func TestEventStreamLimits(t *testing.T) {
	n, addr, _ := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) { srv.Limits.Conns = 2 }))
	dialSim(t, n, addr).upgraded()
	second := dialSim(t, n, addr).streamed()
	third := dialSim(t, n, addr)
	third.send(eventRequest("/"))
	third.expectRefusal(http.StatusServiceUnavailable)
	_ = second.Close()
	idle(t, n)
	dialSim(t, n, addr).streamed()
}

// TestMuxEventStreams: a Mux has the same routes for them, and leaves others to HTTP.
func TestMuxEventStreams(t *testing.T) {
	var mux server.Mux
	conns := make(chan *server.Conn, 1)
	mux.Handle("/rooms/{room}", opened(conns))
	n, addr, _ := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) {
		srv.Upgrade = mux.Upgrade
		srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "page ", r.URL.Path) })
	}))
	c := dialSim(t, n, addr)
	c.send(eventRequest("/rooms/1"))
	c.expectStream()
	<-conns
	c = dialSim(t, n, addr)
	for range 2 { // the second one comes back from net/http, and is left to it again
		c.send(eventRequest("/other"))
		if resp, body := c.response(); resp.StatusCode != 200 || body != "page /other" {
			t.Errorf("status %d, %q", resp.StatusCode, body)
		}
	}
	c.send(eventRequest("/rooms/2"))
	c.expectStream()
	if got := (<-conns).IsEventStream(); !got {
		t.Error("no event stream")
	}
}

// TestEventStreamEnds: what ends a WebSocket with a code ends an event stream with the same one.
func TestEventStreamEnds(t *testing.T) {
	conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
	log := &logBook{}
	n, addr, srv := startSim(t, simnet.Config{}, withEvents(func(srv *server.Server) {
		srv.Timeouts.Lifetime, srv.Logger = time.Minute, log.logger()
		srv.Handler = handler{
			open: func(c *server.Conn) {
				if conns <- c; c.Request().Path() == "/panic" {
					panic("as asked")
				}
			},
			close: func(_ *server.Conn, err error) { causes <- err },
		}
	}))
	c := dialSim(t, n, addr)
	c.send(eventRequest("/panic"))
	c.expectStream().expectOver(`{"code":1011,"reason":"internal error"}`)
	expectCause(t, causes, ws.CodeInternal, false)
	<-conns

	stream := dialSim(t, n, addr).streamed()
	conn := <-conns
	if err := srv.CloseConn(t.Context(), conn.ID(), 4001, strings.Repeat("ü", 100)); err != nil {
		t.Error(err)
	}
	stream.expectOver(`{"code":4001,"reason":"` + strings.Repeat("ü", 61) + `"}`) // cut as in a close frame
	expectCause(t, causes, 4001, false)

	stream = dialSim(t, n, addr).streamed()
	_ = (<-conns).Close(ws.CodeNoStatus, "")
	stream.expectNothing()
	expectCause(t, causes, ws.CodeNoStatus, false)

	stream = dialSim(t, n, addr).streamed()
	(<-conns).CloseNow()
	stream.expectNothing()
	expectCause(t, causes, ws.CodeAbnormal, false)

	stream = dialSim(t, n, addr).streamed()
	<-conns
	pass(t, n, 61*time.Second)
	stream.expectOver(`{"code":1001,"reason":"connection lifetime over"}`)
	expectCause(t, causes, ws.CodeGoingAway, false)
	if got := log.count("as asked"); got != 1 {
		t.Errorf("%d panics are logged", got)
	}
}

// TestEventStreamBehindTickets: a queue that is there before the request, since the client does not take what follows the
// handshake, knows what it holds from then on. It is cut short behind a whole event.
func TestEventStreamBehindTickets(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, _ := startTLSSim(t, simnet.Config{SendBuffer: 20}, withEvents(func(srv *server.Server) {
		srv.Handler, srv.Limits.Message, srv.Queue.Max = opened(conns), 100_000, 250_000
	}))
	raw, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	config := clientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1) // it wants tickets
	c, _ := secured(t, raw, config)
	c.send(eventRequest("/"))
	conn := <-conns
	if conn.Buffered() == 0 {
		t.Fatal("nothing waits before the first event")
	}
	event := strings.Repeat("x", 100_000) // more than TLS takes at once
	if err := conn.SendText(event); err != nil {
		t.Fatal(err)
	}
	stream := c.expectStream()
	idle(t, n) // the event is begun
	for err == nil {
		err = conn.SendText(event)
	}
	stream.expectData(event)
	stream.expectOver(`{"code":1008,"reason":"outbound queue full: reading too slowly"}`)
}
