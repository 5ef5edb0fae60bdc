//go:build !race

// sync.Pool drops items at random under the race detector.

package server_test

import (
	"io"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// allocations are those of the whole process in a run of f: the server's are
// made on its own goroutines.
func allocations(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// TestMessageAllocations: a message costs no allocation, in whatever pieces it
// comes and whether its answer is gathered, written directly or prepared.
func TestMessageAllocations(t *testing.T) { testMessageAllocations(t, 0) }

// TestRatedAllocations: nor does it where peers have rates to keep.
func TestRatedAllocations(t *testing.T) {
	testMessageAllocations(t, 1e9)
}

func testMessageAllocations(t *testing.T, rate int) {
	const rounds = 1000
	big := string(make([]byte, 60<<10))
	for name, message := range map[string]string{
		"small":        frame(opText, "hello"),
		"16 in one":    string(repeat(frame(opText, "hello"), 16)),
		"fragments":    fragment(opText, "hel") + frame(opPing, "?") + frame(opContinuation, "lo"),
		"64 KiB":       frame(opBinary, big),
		"empty":        frame(opBinary, ""),
		"unasked pong": frame(opPong, "!") + frame(opText, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			n := simnet.New(simnet.Config{RecvBuffer: 256 << 10, SendBuffer: 256 << 10})
			addr, _ := serveOn(t, n, &server.Server{Handler: echo{}, Limits: server.Limits{MessageRate: rate, ByteRate: int64(rate)}})
			c := dialSim(t, n, addr.String()).upgraded()
			c.send(message)
			idle(t, n)
			answer := make([]byte, 128<<10)
			size, err := c.Conn.Read(answer)
			if err != nil {
				t.Fatal(err)
			}
			bytes := []byte(message)
			round := func() {
				if _, err := c.Conn.Write(bytes); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c.Conn, answer[:size]); err != nil {
					t.Fatal(err)
				}
			}
			got := allocations(func() {
				for range rounds {
					round()
				}
			})
			// A few belong to the runtime and the watchdog, not to the messages.
			if got > rounds/10 {
				t.Errorf("%d allocations in %d rounds, want none", got, rounds)
			}
		})
	}
}

// TestUpgradeAllocations: an upgrade costs the connection and nothing more, but
// for the table, which grows now and then; also where the connection has limits of its
// route, from the hook or from SetLimits, with and without compression.
func TestUpgradeAllocations(t *testing.T) {
	own := server.ConnLimits{Message: 5000, Queue: server.Queue{Policy: server.DropNewest}, PingInterval: time.Minute}
	byHook := func(*ws.Request) (server.Accept, error) { return server.Accept{Limits: &own}, nil }
	bySet := handler{open: func(c *server.Conn) {
		if err := c.SetLimits(own); err != nil {
			t.Error(err)
		}
	}}
	for name, srv := range map[string]*server.Server{
		"plain":                   {},
		"a hook":                  {Upgrade: func(*ws.Request) (server.Accept, error) { return server.Accept{}, nil }},
		"own limits":              {Upgrade: byHook},
		"own limits, compression": {Upgrade: byHook, Deflate: &server.Deflate{}},
		"set limits":              {Handler: bySet},
		"set limits, compression": {Handler: bySet, Deflate: &server.Deflate{}},
	} {
		t.Run(name, func(t *testing.T) { testUpgradeAllocations(t, srv) })
	}
}

func testUpgradeAllocations(t *testing.T, srv *server.Server) {
	const conns = 500
	network := simnet.New(simnet.Config{Preallocate: conns + 1})
	addr, _ := serveOn(t, network, srv)
	request := []byte(upgradeRequest("User-Agent: test", "Origin: http://example.com", "Sec-WebSocket-Extensions: "+offerDeflate))
	answer := make([]byte, 512)
	open := func() {
		c, err := network.Dial(addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for c.Buffered() == 0 { // a blocking Read allocates
			runtime.Gosched()
		}
		if _, err := c.TryRead(answer); err != nil || string(answer[9:12]) != "101" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	open()
	dialing := allocations(func() { dialOnly(t, network, conns) })
	got := allocations(func() {
		for range conns {
			open()
		}
	})
	if got > dialing+conns*3/2 {
		t.Errorf("%.2f allocations an upgrade beyond the client's own, want 1", float64(got-dialing)/conns)
	}
	t.Logf("%.2f allocations an upgrade", float64(got-dialing)/conns)
}

// dialOnly does what the client's side of TestUpgradeAllocations does, without a
// server.
func dialOnly(t *testing.T, network *simnet.Network, conns int) {
	ln, err := network.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for range conns {
		c, err := network.Dial(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		fd, _, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := network.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
}

func repeat(s string, n int) (b []byte) {
	for range n {
		b = append(b, s...)
	}
	return b
}

// TestConnSize: an idle connection is its Conn, and its place in a loop's table.
func TestConnSize(t *testing.T) {
	if size := reflect.TypeFor[server.Conn]().Size(); size > 112 {
		t.Errorf("a Conn takes %d bytes, want at most 112", size)
	}
}
