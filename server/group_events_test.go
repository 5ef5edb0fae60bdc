package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// enveloping is a hook that accepts what is asked for, with envelopes at /enveloped.
func enveloping(r *ws.Request) (server.Accept, error) {
	return server.Accept{EventStream: r.EventStream(), Enveloped: r.Path() == "/enveloped"}, nil
}

// formed is a message to groups with its forms.
func formed(op ws.Opcode, payload, id string) *ws.Prepared {
	return ws.PrepareWith(op, []byte(payload), ws.PrepareOptions{ID: id, Envelope: func() []byte {
		return fmt.Appendf(nil, "{%q:%q}", id, payload)
	}})
}

// TestGroupForms: each member gets a message in its own form, also what Conn.SendPrepared sends.
func TestGroupForms(t *testing.T) {
	onAll(t, func(t *testing.T, start starter) {
		conns := make(chan *server.Conn, 1)
		dial, srv := start(t, withEvents(func(srv *server.Server) {
			srv.Handler, srv.Upgrade, srv.Runtime.Loops = opened(conns), enveloping, 2
			srv.Deflate = &server.Deflate{Threshold: -1}
		}))
		g := srv.NewGroup(server.GroupOptions{})
		var members []*server.Conn
		join := func(request string) *client {
			c := dial()
			c.send(request)
			if strings.Contains(request, "event-stream") {
				c.expectStream()
			} else if resp, err := http.ReadResponse(c.r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%+v, %v", resp, err)
			}
			members = append(members, <-conns)
			return c
		}
		enveloped := strings.Replace(upgradeRequest(), "GET / ", "GET /enveloped ", 1)
		withDeflate := func(request string) *deflater {
			return &deflater{client: join(strings.Replace(request, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1)), answer: "permessage-deflate"}
		}
		raw, wrapped := join(upgradeRequest()), join(enveloped)
		packed, packedRaw := withDeflate(enveloped), withDeflate(upgradeRequest())
		events, wrappedEvents := join(eventRequest("/")), join(eventRequest("/enveloped"))
		joinAll(t, g, members...)
		for _, p := range []*ws.Prepared{
			formed(ws.Text, "a", "1"), formed(ws.Binary, "b", "2"), ws.Prepare(ws.Text, []byte("c")), ws.Prepare(ws.Binary, []byte("d")), ws.Prepare(ws.Text, []byte("e")),
		} {
			if _, err := g.Send(p); err != nil {
				t.Fatal(err)
			}
		}
		gap := ws.PrepareWith(ws.Text, []byte("gap"), ws.PrepareOptions{Event: "gap", NotPlain: true})
		if _, err := g.Send(gap); err != nil {
			t.Fatal(err)
		}
		for i, c := range members {
			for _, err := range []error{c.SendPrepared(gap), g.SendTo(c, gap, server.SendOptions{})} {
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
			if err := c.SendPrepared(formed(ws.Text, "own", "3")); err != nil {
				t.Errorf("%d: %v", i, err)
			}
			if err := c.SendText("end"); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		expectFrames(raw, "1 a", "2 b", "1 c", "2 d", "1 e", "1 own", "1 end")
		expectFrames(wrapped, `1 {"1":"a"}`, `1 {"2":"b"}`, "1 c", "2 d", "1 e", "1 gap", "1 gap", "1 gap", `1 {"3":"own"}`, "1 end")
		expectPacked(packed, `{"1":"a"}`, `{"2":"b"}`, "c", "d", "e", "gap", "gap", "gap", `{"3":"own"}`, "end")
		expectPacked(packedRaw, "a", "b", "c", "d", "e", "own", "end")
		gaps := strings.Repeat("event: gap\ndata: gap\n\n", 3)
		expectLines(events, "id: 1\ndata: a\n\n", "data: c\n\n", "data: e\n\n", gaps, "id: 3\ndata: own\n\n", "data: end\n\n")
		expectLines(wrappedEvents, "id: 1\ndata: {\"1\":\"a\"}\n\n", "id: 2\ndata: {\"2\":\"b\"}\n\n", "data: c\n\n", "data: e\n\n", gaps,
			"id: 3\ndata: {\"3\":\"own\"}\n\n", "data: end\n\n")
		if n := srv.Stats().EventStreams.NotText; n != 3 {
			t.Errorf("%d messages were no text, want 3", n)
		}
	})
}

// expectFrames reads messages, each told as its opcode and payload.
func expectFrames(c *client, want ...string) {
	c.t.Helper()
	for _, w := range want {
		if op, payload := c.frame(); fmt.Sprint(op, " ", payload) != w {
			c.t.Errorf("got %d %q, want %q", op, payload, w)
		}
	}
}

// expectPacked reads messages that may be compressed.
func expectPacked(c *deflater, want ...string) {
	c.t.Helper()
	for _, w := range want {
		if _, got := c.message(); got != w {
			c.t.Errorf("got %q, want %q", got, w)
		}
	}
}

// expectLines reads just these bytes.
func expectLines(c *client, want ...string) {
	c.t.Helper()
	all := strings.Join(want, "")
	got := make([]byte, len(all))
	if c.full(got); string(got) != all {
		c.t.Errorf("got %q, want %q", got, all)
	}
}

// expectNumbered reads events up to the one that tells of the end: numbers that grow, each its id too and
// followed by size bytes. It gives the last one, and how many came.
func (c *eventClient) expectNumbered(size int) (last, got int) {
	c.t.Helper()
	for {
		e := c.next()
		if e.Name == "close" {
			return last, got
		}
		var number int
		if _, err := fmt.Sscan(string(e.Data), &number); err != nil || len(e.Data) != len(strconv.Itoa(number))+1+size || e.ID != strconv.Itoa(number) {
			c.t.Fatalf("event %q %q", e.ID, e.Data)
		}
		if number <= last {
			c.t.Errorf("number %d behind %d", number, last)
		}
		last, got = number, got+1
	}
}

// TestGroupEventsSlow: what becomes of messages that do not fit is the policy's, and what
// comes are whole events.
func TestGroupEventsSlow(t *testing.T) {
	const messages, size = 100, 600
	for _, test := range []struct {
		name   string
		policy server.QueuePolicy
		key    string
		last   int // 0: any
	}{
		{"close", server.CloseWhenFull, "", 0},
		{"drop newest", server.DropNewest, "", 0},
		{"drop oldest", server.DropOldest, "", messages},
		{"key", server.DropNewest, "price", messages},
	} {
		t.Run(test.name, func(t *testing.T) {
			conns, causes := make(chan *server.Conn, 1), make(chan error, 1)
			missed := make(chan int, messages)
			n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000, RecvBuffer: 1000}, withEvents(func(srv *server.Server) {
				srv.Handler = server.HandlerFuncs{
					OnOpen: func(c *server.Conn) { conns <- c }, OnClose: func(_ *server.Conn, err error) { causes <- err },
					OnMissed: func(_ *server.Conn, n int) { missed <- n },
				}
				srv.Queue.Max = 20_000
			}))
			c := dialSim(t, n, addr).streamed()
			g := srv.NewGroup(server.GroupOptions{Policy: test.policy})
			conn := <-conns
			joinAll(t, g, conn)
			for i := 1; i <= messages; i++ {
				text := fmt.Sprint(i, " ", strings.Repeat("x", size))
				if _, err := g.SendWith(ws.PrepareWith(ws.Text, []byte(text), ws.PrepareOptions{ID: strconv.Itoa(i)}), server.SendOptions{Key: test.key}); err != nil {
					t.Fatal(err)
				}
				idle(t, n)
			}
			if test.policy != server.CloseWhenFull {
				_ = conn.Close(ws.CodeNormal, "over")
			}
			before, got := c.expectNumbered(size)
			if got == messages || test.last != 0 && before != test.last {
				t.Errorf("%d messages came, the last is %d", got, before)
			}
			if err := <-causes; errors.Is(err, server.ErrClosed) {
				t.Error(err)
			}
			stats := srv.Stats().Group
			dropped := int(stats.DroppedNewest + stats.DroppedOldest)
			if test.policy != server.CloseWhenFull && got+dropped+int(stats.Replaced) != messages {
				t.Errorf("%d came, %d are dropped, %d replaced: not %d", got, dropped, stats.Replaced, messages)
			}
			if dropped > 0 && test.policy != server.CloseWhenFull {
				if told := <-missed; told < 1 || told > dropped { // the others once a second, or when half of the queue is free
					t.Errorf("told of %d dropped messages, of %d", told, dropped)
				}
			}
			eventually(t, "nothing is charged", func() bool { return srv.Stats().Backlog == 0 }) // the client may see the end first
		})
	}
}

// TestGroupFormsCharged: what waits in another form is charged as well, once, and given back.
func TestGroupFormsCharged(t *testing.T) {
	const size = 100_000
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 1000, RecvBuffer: 1000}, withEvents(func(srv *server.Server) {
		srv.Handler, srv.Runtime.Loops = opened(conns), 1
	}))
	g := srv.NewGroup(server.GroupOptions{})
	var clients []*client
	for range 5 {
		clients = append(clients, dialSim(t, n, addr).streamed().client, dialSim(t, n, addr).upgraded())
		joinAll(t, g, <-conns, <-conns)
	}
	if _, err := g.Send(ws.Prepare(ws.Text, []byte(strings.Repeat("\n", size)))); err != nil {
		t.Fatal(err)
	}
	idle(t, n)
	const event = size * len("data: \n")
	if b := int(srv.Stats().Backlog); b < size+event || b > size+event+10*2000 {
		t.Errorf("%d bytes are charged for 5 readers of a frame of %d and 5 of an event of %d", b, size, event)
	}
	for _, c := range clients {
		_ = c.Close()
	}
	eventually(t, "nothing is charged", func() bool { return srv.Stats().Backlog == 0 })
}

// TestGroupEventsExpire: an event whose time is over is not sent.
func TestGroupEventsExpire(t *testing.T) {
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 500, RecvBuffer: 500}, withEvents(func(srv *server.Server) {
		srv.Handler = opened(conns)
	}))
	c := dialSim(t, n, addr).streamed()
	g := srv.NewGroup(server.GroupOptions{})
	conn := <-conns
	joinAll(t, g, conn)
	for i, expires := range []time.Duration{0, 0, 0, 0, time.Second, time.Second, 0} {
		p := ws.Prepare(ws.Text, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 400)))
		if _, err := g.SendWith(p, server.SendOptions{Expires: expires}); err != nil {
			t.Fatal(err)
		}
		idle(t, n)
	}
	pass(t, n, 2*time.Second)
	for _, want := range []string{"0 ", "1 ", "2 ", "3 ", "6 "} {
		if e := c.next(); !strings.HasPrefix(string(e.Data), want) {
			t.Errorf("event %.10q, want %q", e.Data, want)
		}
	}
	if got := srv.Stats().Group.Expired; got != 2 {
		t.Errorf("%d expired", got)
	}
}
