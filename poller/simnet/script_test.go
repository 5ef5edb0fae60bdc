package simnet_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// TestStreamSurvives sends a stream through each kind of bad luck that loses
// nothing.
func TestStreamSurvives(t *testing.T) {
	tests := []struct {
		name   string
		config simnet.Config
		size   int
	}{
		{"NoFaults", simnet.Config{}, 1 << 20},
		{"WindowOfOneByte", simnet.Config{RecvBuffer: 1, SendBuffer: 1}, 2000},
		{"SmallWindows", simnet.Config{RecvBuffer: 100, SendBuffer: 77}, 100_000},
		{"AgainAtEachOffset", simnet.Config{Script: simnet.OneByte}, 3000},
		{"ChoppedAndStale", simnet.Config{Script: simnet.Chop(42), StaleEvents: true}, 200_000},
		{"ChoppedSmallWindows", simnet.Config{Script: simnet.Chop(7), SendBuffer: 64}, 20_000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := newEchoServer(t, simnet.New(test.config))
			var clients sync.WaitGroup
			for range 4 {
				c := server.dial()
				clients.Go(func() {
					sent := pattern(test.size)
					if got := roundTrip(t, c, sent); !bytes.Equal(got, sent) {
						t.Errorf("%d bytes came back, not the %d sent", len(got), len(sent))
					}
				})
			}
			clients.Wait()
		})
	}
}

// FuzzShortCallsLoseNothing looks for a seed and a size that lose bytes.
func FuzzShortCallsLoseNothing(f *testing.F) {
	f.Add(uint64(0), uint16(1), uint8(0))
	f.Add(uint64(99), uint16(5000), uint8(10))
	f.Fuzz(func(t *testing.T, seed uint64, size uint16, window uint8) {
		server := newEchoServer(t, simnet.New(simnet.Config{
			Script: simnet.Chop(seed), RecvBuffer: int(window), SendBuffer: int(window),
		}))
		sent := pattern(int(size))
		if got := roundTrip(t, server.dial(), sent); !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back, not the %d sent", len(got), len(sent))
		}
	})
}

// TestResetAt resets in the middle of a stream, at an exact byte.
func TestResetAt(t *testing.T) {
	server := newEchoServer(t, simnet.New(simnet.Config{}))
	for _, op := range []simnet.Op{simnet.OpRead, simnet.OpWrite} {
		c, other := server.dial(), server.dial()
		c.Script(simnet.ResetAt(op, 3))
		_, err := c.Write([]byte("12345"))
		must(t, err)
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read = %v, want ECONNRESET", err)
		}
		if _, err := c.Write([]byte("6")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write = %v, want EPIPE", err)
		}
		must(t, c.Close())
		if got := roundTrip(t, other, []byte("unharmed")); string(got) != "unharmed" {
			t.Errorf("the other connection got %q", got)
		}
	}
}

func TestAcceptFails(t *testing.T) {
	n := simnet.New(simnet.Config{Script: simnet.Fail(simnet.OpAccept, 2, poller.ErrExhausted)})
	_, l := listen(t, n)
	_, err := n.Dial(l.Addr().String())
	must(t, err)
	for range 2 {
		if _, _, err := l.Accept(); !errors.Is(err, poller.ErrExhausted) {
			t.Fatalf("Accept = %v, want ErrExhausted", err)
		}
	}
	_, _, err = l.Accept()
	must(t, err)
}

func TestAddFails(t *testing.T) {
	n := simnet.New(simnet.Config{Script: simnet.Fail(simnet.OpAdd, 1, syscall.ENOSPC)})
	p, l := listen(t, n)
	_, fd := connect(t, n, l)
	err := p.Add(fd, 2)
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, poller.ErrExhausted) {
		t.Fatalf("Add = %v, want ENOSPC and ErrExhausted", err)
	}
	must(t, p.Add(fd, 2))
}

// TestScriptSeesOffsets holds what a script is told about each call.
func TestScriptSeesOffsets(t *testing.T) {
	n := simnet.New(simnet.Config{})
	_, l := listen(t, n)
	c, fd := connect(t, n, l)
	var calls []simnet.Call
	c.Script(simnet.First(
		func(call simnet.Call) simnet.Verdict { calls = append(calls, call); return simnet.Verdict{} },
		simnet.OneByte,
	))
	_, err := c.Write([]byte("abc"))
	must(t, err)
	p := make([]byte, 10)
	for range 4 {
		n.Read(fd, p)
	}
	number := c.Number()
	want := []simnet.Call{
		{Op: simnet.OpRead, FD: fd, Number: number, Seq: 0, Offset: 0, Len: 10},
		{Op: simnet.OpRead, FD: fd, Number: number, Seq: 1, Offset: 0, Len: 10},
		{Op: simnet.OpRead, FD: fd, Number: number, Seq: 2, Offset: 1, Len: 10},
		{Op: simnet.OpRead, FD: fd, Number: number, Seq: 3, Offset: 1, Len: 10},
	}
	if len(calls) != len(want) {
		t.Fatalf("%d calls were judged, want %d", len(calls), len(want))
	}
	for i, call := range calls {
		if call != want[i] {
			t.Errorf("call %d = %+v, want %+v", i, call, want[i])
		}
	}
}

// TestChopOfASeedRepeats: the same seed gives the same faults, another one others.
func TestChopOfASeedRepeats(t *testing.T) {
	differ := false
	for seq := range 100 {
		call := simnet.Call{Op: simnet.OpRead, Number: 5, Seq: seq}
		one, same, other := simnet.Chop(1)(call), simnet.Chop(1)(call), simnet.Chop(2)(call)
		if one != same {
			t.Fatalf("seq %d: %+v and %+v of the same seed", seq, one, same)
		}
		differ = differ || one != other
	}
	if !differ {
		t.Error("two seeds give the same faults")
	}
}

// TestAgainBringsItsEdge: an ErrAgain of the script is not the end.
func TestAgainBringsItsEdge(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	c, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	_, err := c.Write([]byte("ab"))
	must(t, err)
	c.Script(simnet.OneByte)
	drainEvents(t, p)
	buffer := make([]byte, 4)
	if _, err := n.Read(fd, buffer); err != poller.ErrAgain {
		t.Fatalf("Read = %v, want ErrAgain", err)
	}
	wantEvent(t, p, 2, poller.Readable)
	if count, err := n.Read(fd, buffer); count != 1 || err != nil {
		t.Fatalf("Read = %d, %v, want 1 byte", count, err)
	}
	wantEvent(t, p, 2, poller.Readable)
}
