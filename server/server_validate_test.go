package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// fieldCases are values of one field, which may need others beside it.
type fieldCases struct {
	wrong []any // each is refused, with the field's name; a func(*server.Server) sets others too
	right []any // each works
}

type setting = func(*server.Server)

const (
	day         = 24 * time.Hour
	longestTime = 366 * day
	slack       = 64 << 10 // beside the largest message, in Limits.InboundMemory

	leastQueueMemory = 1<<20 + 64<<10 + 128<<10 // a message, the mark, and what a turn has gathered
)

// shortest is a handshake in as few bytes as possible.
const shortest = "GET / HTTP/1.1\r\nHost:a\r\nUpgrade:websocket\r\nConnection:Upgrade\r\n" +
	"Sec-WebSocket-Key:" + clientKey + "\r\nSec-WebSocket-Version:13\r\n\r\n"

// anyValue are fields of which every value works, and why.
var anyValue = map[string]string{
	"Handler": "code", "Upgrade": "code", "Origin.Check": "code", "HTTP": "code", "Runtime.Engine": "code", "Logger": "code",
	"Runtime.LoopsOnly": "a switch", "Runtime.Debug": "a switch", "Proxy.TrustUnix": "a switch", "Limits.HTTPStreams": "below 0 is no bound", "Proxy.Protocol": "a switch", "DisableHTTP2": "a switch", "EventStreams": "a switch", "LogRefusals": "a switch",
	"Limits.Handshakes": "below 0 is no bound", "Limits.HTTPConns": "below 0 is no bound",
	"Deflate": "its fields are below", "Deflate.Threshold": "below 0 compresses all", "Deflate.ServerTakeover": "a switch", "Deflate.ClientTakeover": "a switch",
}

var numbers = fieldCases{wrong: []any{-1, math.MinInt}, right: []any{1, math.MaxInt}}

var times = fieldCases{
	wrong: []any{-time.Second, time.Duration(1), time.Millisecond - 1, longestTime + 1, time.Duration(math.MaxInt64), time.Duration(math.MinInt64)},
	right: []any{time.Millisecond, longestTime},
}

// ruled are the fields that Validate has rules for.
var ruled = map[string]fieldCases{
	"Addr": {
		wrong: []any{"8080", "localhost", ":99999", ":-1", "a:b:c", ":no-such-service", "127.0.0.1:8080/", "unix:"},
		right: []any{":0", "127.0.0.1:8080", "[::1]:65535", "localhost:http", "unix:/tmp/s"},
	},
	"Origin.Hosts": {
		wrong: []any{[]string{"https://a"}, []string{"a", "b:99999"}, []string{""}, []string{"a.*.b"}},
		right: []any{[]string{"a"}, []string{"other.example", "a:80"}, []string{"*"}},
	},
	"Origin.Allow": {
		wrong: []any{
			[]string{"example.com"}, []string{"https://a", "https://a.example/path"}, []string{"https://a:99999"}, []string{""}, []string{"https://app*.example"}, []string{"https://u@a"},
		},
		right: []any{[]string{"https://*.app.test", "capacitor://localhost", "file://", "null"}, []string{"*"}},
	},
	"Subprotocols":       {wrong: []any{[]string{""}, []string{"a b"}, []string{"a,b"}, []string{"a", "b", "a"}}, right: []any{[]string{"chat.v2", "CHAT.V2"}}},
	"Proxy.Trusted":      {wrong: []any{[]netip.Prefix{{}}, prefixes("10.1.2.3/8"), prefixes("::ffff:10.0.0.0/104"), prefixes("192.0.2.1/32 2001:db8::1/64")}, right: []any{prefixes("0.0.0.0/0 ::/0"), prefixes("192.0.2.1/32 10.0.0.0/8 10.1.0.0/16")}},
	"Runtime.SocketMode": {wrong: []any{fs.ModeDir | 0o660, fs.FileMode(0o1000), fs.FileMode(math.MaxUint32)}, right: []any{fs.FileMode(0o600), fs.FileMode(0o777)}},
	"Proxy.MaxHeader":    {wrong: []any{-1, 1, 51, math.MinInt}, right: []any{52, math.MaxInt}},

	"Limits.Conns": numbers, "Limits.ConnsPerAddr": numbers, "Limits.EmptyFragments": numbers, "Limits.TLSHandshakes": numbers, "Limits.HandshakeRate": numbers, "Limits.MessageRate": numbers,
	"Limits.HandshakeBurst": {wrong: []any{-1, 5}, right: []any{setting(func(s *server.Server) { s.Limits.HandshakeRate, s.Limits.HandshakeBurst = 1, 1 })}},
	"Limits.MessageBurst":   {wrong: []any{-1, 5}, right: []any{setting(func(s *server.Server) { s.Limits.MessageRate, s.Limits.MessageBurst = 1, 1 })}},
	"Limits.Head":           {wrong: []any{-1, 1, len(shortest) - 1, 1<<30 + 1, math.MinInt}, right: []any{len(shortest), 1 << 30}},
	"Limits.HeadLines":      {wrong: []any{-1, 1, 5, math.MaxInt, math.MinInt}, right: []any{6, math.MaxInt32}},
	"Limits.Message":        {wrong: []any{int64(-1), int64(math.MinInt64)}, right: []any{int64(1), int64(math.MaxInt64)}},
	"Limits.ByteRate":       {wrong: []any{int64(-1), int64(math.MinInt64)}, right: []any{int64(1), int64(math.MaxInt64)}},
	"Limits.ByteBurst": {
		wrong: []any{
			int64(-1), int64(1 << 30),
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst = 1, 1<<20+13 }),
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 1, 6, 1 }),
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 1, 126+7, 126 }),
			setting(func(s *server.Server) {
				s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 1<<40, 1<<40, math.MaxInt64
			}),
		},
		right: []any{
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst = 1, 1<<20+14 }),
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 1, 15, 1 }),
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst, s.Limits.Message = 1, 126+8, 126 }),
			setting(func(s *server.Server) { s.Limits.ByteRate, s.Limits.ByteBurst = 1, math.MaxInt64 }),
		},
	},
	"Queue.Max":    {wrong: []any{-1, math.MinInt}, right: []any{1, math.MaxInt}},
	"Queue.Policy": {wrong: []any{server.QueuePolicy(3), server.QueuePolicy(255)}, right: []any{server.CloseWhenFull, server.DropNewest}},
	"Queue.HighWater": {
		wrong: []any{setting(func(s *server.Server) { s.Queue.Max, s.Queue.HighWater = 1000, 1001 })},
		right: []any{-1, 1, math.MaxInt, math.MinInt, setting(func(s *server.Server) { s.Queue.Max, s.Queue.HighWater = 1000, 1000 })},
	},
	"Queue.LowWater": {
		wrong: []any{
			-1, 64<<10 + 1,
			setting(func(s *server.Server) { s.Queue.HighWater, s.Queue.LowWater = 1000, 1001 }),
			setting(func(s *server.Server) { s.Queue.Max, s.Queue.LowWater = 1000, 251 }),
			setting(func(s *server.Server) { s.Queue.HighWater, s.Queue.LowWater = -1, 1 }),
		},
		right: []any{1, 64 << 10, setting(func(s *server.Server) { s.Queue.HighWater, s.Queue.LowWater = math.MaxInt, math.MaxInt })},
	},
	"Limits.QueueMemory": {
		wrong: []any{
			int64(1), int64(leastQueueMemory - 1),
			setting(func(s *server.Server) { s.Queue.Max, s.Limits.QueueMemory = 1000, 999 }),
			setting(func(s *server.Server) { s.Limits.Message, s.Limits.QueueMemory = 5<<20, 5<<20 }),
		},
		right: []any{int64(-1), int64(leastQueueMemory), int64(math.MaxInt64), int64(math.MinInt64), setting(func(s *server.Server) { s.Queue.Max, s.Limits.QueueMemory = 1000, 1000 })},
	},
	"Limits.InboundMemory": {
		wrong: []any{
			int64(1), int64(1<<20 + slack - 1),
			setting(func(s *server.Server) { s.Limits.Message, s.Limits.InboundMemory = 1, 16<<10+slack-1 }),
			setting(func(s *server.Server) { s.Limits.Message, s.Limits.InboundMemory = 20_000, 32<<10+slack-1 }),
		},
		right: []any{int64(-1), int64(1<<20 + slack), int64(math.MaxInt64), int64(math.MinInt64), setting(func(s *server.Server) { s.Limits.Message, s.Limits.InboundMemory, s.Limits.Head = 1, 1024+slack, 1000 })},
	},

	"Timeouts.Handshake": times, "Timeouts.Write": times, "Timeouts.Close": times,
	"Timeouts.Lifetime": times,
	"Timeouts.Message":  {wrong: times.wrong[1:5], right: append(times.right, -time.Second, time.Duration(math.MinInt64))},
	"Timeouts.Body":     {wrong: times.wrong[1:5], right: append(times.right, -time.Second, time.Duration(math.MinInt64))},
	"Timeouts.HTTPIdle": {
		wrong: append(times.wrong[1:5:5], setting(func(s *server.Server) { s.Keepalive.BalancerIdle, s.Timeouts.HTTPIdle = time.Minute, time.Minute })),
		right: append(times.right, -time.Second, setting(func(s *server.Server) { s.Keepalive.BalancerIdle, s.Timeouts.HTTPIdle = time.Minute, time.Minute+1 })),
	},
	"Keepalive.Interval": {
		wrong: []any{
			time.Duration(1), time.Millisecond - 1, longestTime + 1,
			setting(func(s *server.Server) { s.Keepalive.BalancerIdle, s.Keepalive.Interval = time.Minute, -1 }),
			setting(func(s *server.Server) { s.Keepalive.BalancerIdle, s.Keepalive.Interval = time.Minute, time.Minute }),
		},
		right: []any{time.Millisecond, longestTime, -time.Second, time.Duration(math.MinInt64)},
	},
	"Keepalive.BalancerIdle": {wrong: []any{-time.Second, time.Second - 1, longestTime + 1}, right: []any{time.Second, longestTime}},
	"Timeouts.Idle": {
		wrong: append(times.wrong, setting(func(s *server.Server) { s.Timeouts.Idle, s.Timeouts.Lifetime = 2*time.Hour, time.Hour })),
		right: append(times.right, setting(func(s *server.Server) { s.Timeouts.Idle, s.Timeouts.Lifetime = time.Hour, time.Hour })),
	},

	"TLSConfig": {
		wrong: []any{
			&tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}, &tls.Config{MaxVersion: tls.VersionTLS11}, &tls.Config{MinVersion: 0x0305},
		},
		right: []any{&tls.Config{}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, &tls.Config{MinVersion: tls.VersionTLS13}},
	},
	"Runtime.Loops":   {wrong: []any{-1, 1025, math.MaxInt}, right: []any{1, 1024}},
	"Runtime.Workers": {wrong: []any{-1, 1<<20 + 1, math.MaxInt}, right: []any{1, 1 << 20}},

	"Deflate.Level":               {wrong: []any{-1, -2, 10}, right: []any{1, 9}},
	"Deflate.ServerMaxWindowBits": {wrong: []any{-1, 7, 16}, right: []any{8, 15}},
	"Deflate.ClientMaxWindowBits": {wrong: []any{-1, 8, 16}, right: []any{9, 15}},
	"Deflate.MaxWindows":          {wrong: []any{int64(-1)}, right: []any{int64(1), int64(math.MaxInt64)}},
}

// set gives the field the value.
func set(s *server.Server, field string, value any) {
	if with, ok := value.(setting); ok {
		with(s)
		return
	}
	v := reflect.ValueOf(s).Elem()
	for name := range strings.SplitSeq(field, ".") {
		if v = v.FieldByName(name); v.Kind() == reflect.Pointer && strings.Contains(field, ".") {
			v.Set(reflect.New(v.Type().Elem())) // Deflate
			v = v.Elem()
		}
	}
	v.Set(reflect.ValueOf(value))
}

// fieldsOf adds the exported fields of a type, those of its structs in their place.
func fieldsOf(of reflect.Type, prefix string, fields map[string]bool) {
	for i := range of.NumField() {
		f := of.Field(i)
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.Struct:
			fieldsOf(f.Type, prefix+f.Name+".", fields)
		case f.Type == reflect.TypeFor[*server.Deflate]():
			fieldsOf(f.Type.Elem(), prefix+f.Name+".", fields)
			fields[prefix+f.Name] = true
		default:
			fields[prefix+f.Name] = true
		}
	}
}

// TestFieldsAreRuled: there is no field whose values nobody has thought of.
func TestFieldsAreRuled(t *testing.T) {
	t.Parallel()
	fields := map[string]bool{}
	fieldsOf(reflect.TypeFor[server.Server](), "", fields)
	for field := range fields {
		_, hasRule := ruled[field]
		if _, isFree := anyValue[field]; hasRule == isFree {
			t.Errorf("Server.%s has no rule: if there are values with which the server can not work as documented, refuse them in Server.Validate "+
				"(server/server_validate.go) and list some, and the extremes that work, in ruled of this file; if every value works, say why in anyValue", field)
		}
	}
	for _, names := range []any{ruled, anyValue} {
		for _, name := range reflect.ValueOf(names).MapKeys() {
			if !fields[name.String()] {
				t.Errorf("there is no field %s", name)
			}
		}
	}
}

// TestWrongFields: each value that can not work is refused before the server does
// anything, by Validate and whichever way the server is started, with the field's name.
func TestWrongFields(t *testing.T) {
	t.Parallel()
	for field, cases := range ruled {
		for _, value := range cases.wrong {
			s := &server.Server{Runtime: server.Runtime{Engine: simnet.New(simnet.Config{})}}
			set(s, field, value)
			expectFieldError(t, s.Validate(), field, value)
			_, err := s.Listen("tcp", "127.0.0.1:0")
			expectFieldError(t, err, field, value)
		}
	}
}

func expectFieldError(t *testing.T, err error, field string, value any) {
	t.Helper()
	var wrong *server.FieldError
	if !errors.As(err, &wrong) || wrong.Field != field && !strings.HasPrefix(wrong.Field, field+".") {
		t.Errorf("%s %#v: %v", field, value, err)
		return
	}
	if text := err.Error(); !strings.HasPrefix(text, "server: "+field) || !strings.Contains(text, "want "+wrong.Want) || strings.Contains(text, "%!") {
		t.Errorf("%s %#v: the error is %q", field, value, text)
	}
}

// TestRightFields: the server works with the extremes that are allowed.
func TestRightFields(t *testing.T) {
	t.Parallel()
	for field, cases := range ruled {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			for _, value := range cases.right {
				if _, ok := value.(*tls.Config); ok {
					if err := (&server.Server{TLSConfig: value.(*tls.Config)}).Validate(); err != nil {
						t.Error(err)
					}
					continue // the tests of TLS serve with some
				}
				t.Run(fmt.Sprintf("%T %v", value, value), func(t *testing.T) { works(t, func(s *server.Server) { set(s, field, value) }) })
			}
		})
	}
}

// works: a connection is opened, echoes what it gets, and is closed.
func works(t *testing.T, configure func(*server.Server)) {
	n, addr, _ := startSim(t, simnet.Config{}, configure)
	c := dialSim(t, n, addr)
	c.send(shortest)
	c.expectSwitch()
	c.send(frame(opText, "x"))
	c.expect(opText, "x")
	c.send(frame(opClose, closePayload(1000, "")))
	c.expectClose(1000)
	c.done()
}

// TestLeastMaxInbound: the smallest Limits.InboundMemory that is allowed is enough for the largest
// message and the largest head, in many pieces, and for the largest queue's echo.
func TestLeastMaxInbound(t *testing.T) {
	t.Parallel()
	for size, inbound := range map[int]int64{20_000: 32<<10 + slack, 1 << 20: 1<<20 + slack, 5_000_000: 5_000_000 + slack} {
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Limits.Message, s.Limits.InboundMemory, s.Queue.Max, s.Limits.QueueMemory = int64(size), inbound, 2*size, int64(4*size)
		})
		c := dialSim(t, n, addr)
		head := upgradeRequest("X: " + strings.Repeat("x", 16<<10-len(upgradeRequest("X: "))))
		for _, piece := range []string{head[:100], head[100:10_000], head[10_000:]} {
			c.send(piece)
			idle(t, n)
		}
		c.expectSwitch()
		payload := strings.Repeat("x", size)
		for text := frame(opText, payload); text != ""; {
			piece := min(len(text), size/7)
			c.send(text[:piece])
			idle(t, n)
			text = text[piece:]
		}
		c.expect(opText, payload)
		hits(t, srv, server.LimitInbound, 0)
		hits(t, srv, server.LimitQueueMemory, 0)
	}
}

// TestStartReturnsWrongFields: whichever way a server is started, it says what is
// wrong, all at once, and nothing has begun.
func TestStartReturnsWrongFields(t *testing.T) {
	t.Parallel()
	wrong := func() *server.Server {
		return &server.Server{Runtime: server.Runtime{Engine: simnet.New(simnet.Config{})}, Addr: "127.0.0.1:0", Limits: server.Limits{Message: -1}, Origin: server.Origin{Allow: []string{"https://a", "example.com"}}}
	}
	network := simnet.New(simnet.Config{})
	listener := func() poller.Listener {
		ln, err := network.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	certificate := &tls.Config{Certificates: []tls.Certificate{testAuthority().issue("example.com")}}
	for name, start := range map[string]func(s *server.Server) error{
		"Validate":          (*server.Server).Validate,
		"ListenAndServe":    (*server.Server).ListenAndServe,
		"ListenAndServeTLS": func(s *server.Server) error { return s.ListenAndServeTLS("", "") },
		"Listen":            func(s *server.Server) error { _, err := s.Listen("tcp", "127.0.0.1:0"); return err },
		"Serve":             func(s *server.Server) error { return s.Serve(listener()) },
		"ServeTLS":          func(s *server.Server) error { s.TLSConfig = certificate; return s.ServeTLS(listener(), "", "") },
	} {
		s := wrong()
		err := start(s)
		for _, want := range []string{"server: Limits.Message -1: want 0 or above", `server: Origin.Allow "example.com": want an origin`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want an error with %q", name, err, want)
			}
		}
		if s.Ready() {
			t.Errorf("%s: the server has started", name)
		}
	}
	book := &logBook{}
	s := wrong()
	s.Logger = book.logger()
	addr := mountAs(t, s, s.ServeHTTP)
	c := dial(t, addr)
	c.send(upgradeRequest())
	c.expectRefusal(500)
	if !strings.Contains(book.String(), "server: Limits.Message -1") {
		t.Errorf("ServeHTTP logs %q", book.String())
	}
}
