package server_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// wrongOwn are limits that a connection can not have of a server with 1 MiB of
// InboundMemory and QueueMemory each, by the field that is wrong.
var wrongOwn = map[string][]server.ConnLimits{
	"Message":           {{Message: -1}, {Message: 1 << 20}, {Message: math.MaxInt64}},
	"MessageRate":       nil, // below 0 is no rate
	"MessageBurst":      {{MessageBurst: -1}, {MessageBurst: 5}, {MessageRate: -1, MessageBurst: 5}},
	"ByteRate":          nil,
	"ByteBurst":         {{ByteBurst: -1}, {ByteBurst: 1 << 30}, {ByteRate: 1, ByteBurst: 1000 + 7}, {ByteRate: 1, ByteBurst: 2000, Message: 2000}},
	"Queue.Max":         {{Queue: server.Queue{Max: -1}}, {Queue: server.Queue{Max: 1<<20 + 1}}},
	"Queue.HighWater":   {{Queue: server.Queue{Max: 1000, HighWater: 1001}}, {Queue: server.Queue{HighWater: 1<<20 + 1}}},
	"Queue.LowWater":    {{Queue: server.Queue{LowWater: -1}}, {Queue: server.Queue{HighWater: 1000, LowWater: 1001}}, {Queue: server.Queue{HighWater: -1, LowWater: 1}}},
	"Queue.Policy":      {{Queue: server.Queue{Policy: 3}}},
	"Timeouts.Write":    {{Timeouts: server.ConnTimeouts{Write: -1}}, {Timeouts: server.ConnTimeouts{Write: 1}}, {Timeouts: server.ConnTimeouts{Write: longestTime + 1}}},
	"Timeouts.Message":  {{Timeouts: server.ConnTimeouts{Message: 1}}, {Timeouts: server.ConnTimeouts{Message: longestTime + 1}}},
	"Timeouts.Idle":     {{Timeouts: server.ConnTimeouts{Idle: 1}}, {Timeouts: server.ConnTimeouts{Idle: 2 * time.Hour, Lifetime: time.Hour}}},
	"Timeouts.Lifetime": {{Timeouts: server.ConnTimeouts{Lifetime: 1}}, {Timeouts: server.ConnTimeouts{Lifetime: longestTime + 1}}},
	"Timeouts.Close":    {{Timeouts: server.ConnTimeouts{Close: -1}}, {Timeouts: server.ConnTimeouts{Close: 1}}},
	"PingInterval":      {{PingInterval: 1}, {PingInterval: -1}, {PingInterval: time.Hour}}, // a balancer cuts the silent
}

// rightOwn are the extremes that it can have, and what is fitted to them.
var rightOwn = []server.ConnLimits{
	{}, {Message: 1}, {Message: 512 << 10}, {MessageRate: -1, ByteRate: -1}, {MessageRate: math.MaxInt, ByteRate: math.MaxInt64},
	{ByteRate: 1, ByteBurst: 1008}, {Queue: server.Queue{Max: 1}}, {Queue: server.Queue{Max: 1 << 20, HighWater: 1 << 20, LowWater: 1 << 20}},
	{Queue: server.Queue{HighWater: -1}}, {Queue: server.Queue{HighWater: 1}}, {Timeouts: server.ConnTimeouts{Message: -1, Idle: -1, Lifetime: -1}},
	{Timeouts: server.ConnTimeouts{Lifetime: time.Minute}}, {Timeouts: server.ConnTimeouts{Idle: longestTime}}, {PingInterval: time.Second},
}

func strictServer(s *server.Server) {
	s.Limits = server.Limits{Message: 1000, InboundMemory: 1 << 20, QueueMemory: 1 << 20}
	s.Queue = server.Queue{Max: 1 << 20, LowWater: 5000}
	s.Timeouts.Idle, s.Keepalive.BalancerIdle = time.Hour, time.Minute
}

// TestWrongConnLimits: each value that can not work refuses the request, with a line in
// the log that names the field, and is SetLimits' error, which changes nothing.
func TestWrongConnLimits(t *testing.T) {
	t.Parallel()
	fields := map[string]bool{}
	fieldsOf(reflect.TypeFor[server.ConnLimits](), "", fields)
	for field := range fields {
		if _, ok := wrongOwn[field]; !ok {
			t.Errorf("nobody has thought of wrong values of ConnLimits.%s", field)
		}
	}
	var book logBook
	conns := make(chan *server.Conn, 1)
	var limits *server.ConnLimits
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		strictServer(s)
		s.Logger = book.logger()
		h := handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message}
		s.Upgrade = func(*ws.Request) (server.Accept, error) { return server.Accept{Handler: h, Limits: limits}, nil }
	})
	for i := range rightOwn {
		limits = &rightOwn[i]
		c := dialSim(t, n, addr).upgraded()
		c.send(frame(opText, "x"))
		c.expect(opText, "x")
		conn := <-conns
		if got := conn.Limits(); got != rightOwn[i] {
			t.Errorf("limits are %+v, given %+v", got, rightOwn[i])
		}
		for _, l := range rightOwn {
			if err := conn.SetLimits(l); err != nil || conn.Limits() != l {
				t.Errorf("%+v: %v, %+v", l, err, conn.Limits())
			}
		}
		c.reset()
	}
	limits = nil
	dialSim(t, n, addr).upgraded()
	conn := <-conns
	has := server.ConnLimits{Message: 10}
	if err := conn.SetLimits(has); err != nil {
		t.Fatal(err)
	}
	for field, all := range wrongOwn {
		for i := range all {
			limits = &all[i]
			c := dialSim(t, n, addr)
			c.send(upgradeRequest())
			c.expectRefusal(500)
			if !strings.Contains(book.String(), "server: ConnLimits."+field+" ") {
				t.Errorf("%+v: the log has no ConnLimits.%s", all[i], field)
			}
			expectFieldError(t, conn.SetLimits(all[i]), "ConnLimits."+field, all[i])
			if got := conn.Limits(); got != has {
				t.Errorf("the limits are %+v after an error", got)
			}
		}
	}
	eventually(t, "one to be left", func() bool { return srv.Stats().States.Open == 1 })
}

// TestConnLimitsErrorText: an error names fields as they are called in Go, the server's
// and the connection's.
func TestConnLimitsErrorText(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		strictServer(s)
		s.Handler = opened(conns)
	})
	dialSim(t, n, addr).upgraded()
	conn := <-conns
	for want, l := range map[string]server.ConnLimits{
		"server: ConnLimits.Message 1048576: want less: one message may need 1114112 bytes of memory, and Limits.InboundMemory is 1048576": {Message: 1 << 20},
		"server: ConnLimits.Queue.Max 1048577: want at most Limits.QueueMemory, which is 1048576":                                          {Queue: server.Queue{Max: 1<<20 + 1}},
		"server: ConnLimits.Queue.HighWater 1001: want 0, or at most ConnLimits.Queue.Max, which is 1000":                                  {Queue: server.Queue{Max: 1000, HighWater: 1001}},
		"server: ConnLimits.MessageBurst 5: want 0 without a ConnLimits.MessageRate":                                                       {MessageBurst: 5},
	} {
		if err := conn.SetLimits(l); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestLargeStream: a message that a handler gets in pieces may be larger than the memory
// for all of them, but not if it may come compressed.
func TestLargeStream(t *testing.T) {
	t.Parallel()
	large := &server.ConnLimits{Message: 1 << 40}
	for _, test := range []struct {
		deflate  *server.Deflate
		stream   bool
		accept   server.Accept
		accepted bool
	}{
		{nil, true, server.Accept{}, true},
		{nil, false, server.Accept{}, false},
		{&server.Deflate{}, true, server.Accept{}, false},
		{&server.Deflate{}, true, server.Accept{NoDeflate: true}, true},
	} {
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			strictServer(s)
			s.Deflate, s.Queue, s.Limits.QueueMemory = test.deflate, server.Queue{}, 2<<20 // which the queue does not follow
			test.accept.Handler, test.accept.Limits = inPieces(test.stream, handler{open: func(c *server.Conn) { conns <- c }}), large
			byRoute(s, map[string]server.Accept{"": test.accept, "set": {Handler: test.accept.Handler, NoDeflate: true}})
		})
		c := dialSim(t, n, addr)
		c.send(upgradeRequest())
		if !test.accepted {
			c.expectRefusal(500)
			dialSim(t, n, addr).upgraded(on("set"))
			if err := (<-conns).SetLimits(*large); (err == nil) != test.stream {
				t.Errorf("stream %v: %v", test.stream, err)
			}
			continue
		}
		c.expectSwitch()
		for i := range 30 { // one message, for which there is no memory
			c.send(fragment(byte(opBinary*max(1-i, 0)), pattern(1, 100_000)) + frame(opPing, ""))
			c.expect(opPong, "")
		}
		hits(t, srv, server.LimitInbound, 0)
	}
}
