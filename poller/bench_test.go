//go:build linux || darwin || dragonfly || freebsd

package poller_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/poller"
)

// echoer is a connection over loopback with both ends in one poller: it sends a
// message to and fro, each step found through Wait.
type echoer struct {
	tb     testing.TB
	engine poller.Engine
	poller poller.Poller
	ends   [2]int
	events [8]poller.Event
	buffer [512]byte
}

func newEchoer(tb testing.TB, name string) *echoer {
	tb.Helper()
	e := &echoer{tb: tb, engine: newEngine(tb, name)}
	var err error
	if e.poller, err = e.engine.NewPoller(); err != nil {
		tb.Fatal(err)
	}
	fd, peer := connect(tb, e.engine)
	attached, _, err := e.engine.Attach(peer)
	if err != nil {
		tb.Fatal(err)
	}
	e.ends = [2]int{fd, attached}
	for i, fd := range e.ends {
		if err := e.poller.Add(fd, poller.Token(i)); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() {
		for _, fd := range e.ends {
			e.poller.CloseFD(fd)
		}
		e.poller.Close()
	})
	return e
}

// roundTrip sends 64 bytes to the other end and back.
func (e *echoer) roundTrip() {
	for from := range e.ends {
		if n, err := e.engine.Write(e.ends[from], e.buffer[:64]); n != 64 || err != nil {
			e.tb.Fatalf("Write = %d, %v", n, err)
		}
		e.receive(1 - from)
	}
}

// receive waits until 64 bytes are at one end.
func (e *echoer) receive(to int) {
	for got := 0; got < 64; {
		n, err := e.poller.Wait(e.events[:], -1)
		if err != nil {
			e.tb.Fatal(err)
		}
		for _, event := range e.events[:n] {
			if int(event.Token) != to || event.Ready&poller.Readable == 0 {
				continue
			}
			n, err := e.engine.Read(e.ends[to], e.buffer[:])
			if err != nil && !errors.Is(err, poller.ErrAgain) {
				e.tb.Fatal(err)
			}
			got += n
		}
	}
}

// BenchmarkEcho is one round trip of 64 bytes: two writes, two waits, two reads.
func BenchmarkEcho(b *testing.B) {
	for _, name := range poller.Engines() {
		b.Run(name, func(b *testing.B) {
			e := newEchoer(b, name)
			b.ReportAllocs()
			b.SetBytes(2 * 64)
			for b.Loop() {
				e.roundTrip()
			}
		})
	}
}

func TestEchoAllocatesNothing(t *testing.T) {
	for _, name := range poller.Engines() {
		t.Run(name, func(t *testing.T) {
			e := newEchoer(t, name)
			if n := testing.AllocsPerRun(200, e.roundTrip); n != 0 {
				t.Errorf("%v allocations a round trip", n)
			}
			p := make([]byte, 16)
			pieces := [][]byte{p[:4], p[4:]}
			gauge := e.engine.(poller.Gauge)
			calls := map[string]func(){
				"Read of nothing": func() { e.engine.Read(e.ends[0], p) },
				"Wait that looks": func() { e.poller.Wait(e.events[:], 0) },
				"Wait and Wake":   func() { e.poller.Wake(); e.poller.Wait(e.events[:], -1) },
				"Wait that ends":  func() { e.poller.Wait(e.events[:], 1) },
				"Writev and Read": func() { e.engine.Writev(e.ends[0], pieces); e.engine.Read(e.ends[1], p) },
				"both gauges":     func() { gauge.Unacked(e.ends[0]); gauge.Unread(e.ends[0]) },
			}
			for what, call := range calls {
				if n := testing.AllocsPerRun(100, call); n != 0 {
					t.Errorf("%s: %v allocations", what, n)
				}
			}
		})
	}
}

func TestAcceptAllocatesNothing(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e poller.Engine) {
		l, err := e.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		const connections = 20
		for range connections + 1 { // AllocsPerRun runs it once more
			peer := dial(t, e, l.Addr())
			defer peer.Close()
		}
		accept := func() {
			fd, _ := acceptOne(t, l)
			e.Close(fd)
		}
		if n := testing.AllocsPerRun(connections, accept); n != 0 {
			t.Errorf("%v allocations a connection", n)
		}
	})
}
