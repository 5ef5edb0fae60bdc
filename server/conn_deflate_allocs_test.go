//go:build !race

// sync.Pool drops items at random under the race detector.

package server_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// serveDeflating is serveBare with compression.
func serveDeflating(tb testing.TB, network *simnet.Network, d *server.Deflate) (addr net.Addr, stop func()) {
	srv := &server.Server{Runtime: server.Runtime{Engine: network}, Handler: echo{}, Keepalive: server.Keepalive{Interval: -1}, Deflate: d, Logger: noLog}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	stop = sync.OnceFunc(func() {
		_ = srv.Close() // always nil
		if err := <-served; !errors.Is(err, server.ErrServerClosed) {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return ln.Addr(), stop
}

// TestDeflateAllocations: a message costs no allocation when it is inflated,
// echoed and compressed again, with a context or without.
func TestDeflateAllocations(t *testing.T) {
	const rounds = 1000
	for name, deflate := range map[string]*server.Deflate{"without takeover": {}, "with takeover": bothTakeOver} {
		t.Run(name, func(t *testing.T) {
			n := simnet.New(simnet.Config{RecvBuffer: 256 << 10, SendBuffer: 256 << 10})
			addr, _ := serveDeflating(t, n, deflate)
			d := dialDeflating(t, n, addr.String(), offerDeflate)
			text := news(3000, 1)
			d.keeps = false // the same bytes again and again
			message := []byte(frame(opText|rsv1, d.pack(text)))
			answer := make([]byte, 4<<10)
			round := func() {
				if _, err := d.Conn.Write(message); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(d.Conn, answer[:4]); err != nil {
					t.Fatal(err)
				}
				size := int(answer[1]) - 2 // of what follows; a context makes it short
				if size+2 == 126 {
					size = int(answer[2])<<8 | int(answer[3])
				}
				if first := answer[0]; first != fin|opText|rsv1 {
					t.Fatalf("a frame that begins with %x", first)
				}
				if _, err := io.ReadFull(d.Conn, answer[:size]); err != nil {
					t.Fatal(err)
				}
			}
			for range 20 {
				round()
			}
			got := allocations(func() {
				for range rounds {
					round()
				}
			})
			// A few belong to the runtime, the watchdog and pools that the collector
			// has emptied.
			if got > rounds/10 {
				t.Errorf("%d allocations in %d rounds, want none", got, rounds)
			}
		})
	}
}

// idleBytes is what a connection with this offer costs while it is idle, having
// had message echoed, the network's own memory included.
func idleBytes(t *testing.T, conns int, deflate *server.Deflate, offer, message string) float64 {
	t.Helper()
	network := simnet.New(simnet.Config{Preallocate: conns + 1})
	addr, stop := serveDeflating(t, network, deflate)
	defer stop()
	before := memoryInUse()
	all := dialMany(t, network, addr, conns, "Sec-WebSocket-Extensions: "+offer)
	answer := make([]byte, 64<<10)
	for _, c := range all {
		if message == "" {
			break
		}
		if _, err := c.TryWrite([]byte(message)); err != nil {
			t.Fatal(err)
		}
		await(t, c, answer, 2)
	}
	idle(t, network)
	bytes := float64(memoryInUse()-before) / float64(conns)
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return bytes
}

// TestDeflateMemory: 100,000 idle connections (25,000 with -short) with compression have no compressor
// each, nor any other memory, also after they have had messages; with takeover
// they have their windows.
func TestDeflateMemory(t *testing.T) {
	conns := partly(100_000)
	packed := frame(opText|rsv1, (&deflater{client: &client{t: t}}).pack(news(400, 1)))
	// What tests before this one left behind may be collected while this one
	// measures, and make either figure too small. What a connection costs shows in
	// each try, so that one good try is enough.
	var plain, alike float64
	for range 3 {
		plain = idleBytes(t, conns, nil, offerDeflate, frame(opText, news(400, 1)))
		alike = idleBytes(t, conns, &server.Deflate{}, offerDeflate, packed)
		if alike <= plain+16 {
			break
		}
		t.Logf("%.0f bytes a connection with compression, %.0f without", alike, plain)
	}
	if alike > plain+16 {
		t.Error("compression costs an idle connection memory in each of three tries")
	}
	// Two windows, in each of which 400 bytes have been seen, and what they hang on.
	kept := idleBytes(t, 5000, bothTakeOver, offerDeflate, packed) // within MaxWindows
	if kept > plain+2*512+800 {
		t.Errorf("%.0f bytes a connection with two windows of 512 bytes, %.0f without", kept, plain)
	}
	t.Logf("%.0f bytes a connection without compression, %.0f with, %.0f with takeover", plain, alike, kept)
}
