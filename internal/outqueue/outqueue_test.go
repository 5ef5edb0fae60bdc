package outqueue_test

import (
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/outqueue"
	"github.com/millrace/millrace/ws"
)

// text is a frame of so many bytes in all, at most 127.
func text(size int) string {
	return string(ws.AppendFrame(nil, ws.Text, []byte(strings.Repeat("x", size-2))))
}

// drain writes all that waits, and returns it.
func drain(t *testing.T, q *outqueue.Queue) string {
	s := &sink{t: t, takes: math.MaxInt}
	for q.Unwritten() > 0 {
		if _, err := q.Write(s, math.MaxInt); err != nil {
			t.Fatal(err)
		}
	}
	return string(s.wire)
}

// TestTruncate: of what waits there stays the rest of what is begun, and the answer to an
// upgrade even if it is not: without it nothing may follow.
func TestTruncate(t *testing.T) {
	const plain = "HTTP/1.1 101 \r\n\r\n"
	a, b, c := text(10), text(20), text(30)
	for _, tt := range []struct {
		name          string
		add           string
		plain, before int // bytes that are no frames; written before they are queued
		written       int // and after
		want          string
	}{
		{"nothing is written", a + b, 0, 0, 0, ""},
		{"in the first frame", a + b, 0, 0, 9, a[9:]},
		{"at its end", a + b, 0, 0, 10, ""},
		{"in the second", a + b, 0, 0, 11, b[1:]},
		{"written before it was queued", a + b, 0, 9, 0, a[9:]},
		{"written to an end before", a + b, 0, 10, 0, ""},
		{"a frame and more before", a + b + c, 0, 12, 0, b[2:]},
		{"before, and after", a + b + c, 0, 12, 20, c[2:]},
		{"the answer, of which nothing is written", plain + a, len(plain), 0, 0, plain},
		{"in the answer", plain + a, len(plain), 0, 3, plain[3:]},
		{"in the answer before", plain + a, len(plain), 3, 0, plain[3:]},
		{"at the answer's end", plain + a, len(plain), len(plain), 0, ""},
		{"behind the answer", plain + a, len(plain), 0, len(plain) + 2, a[2:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q outqueue.Queue
			q.Add([]byte(tt.add), nil, tt.plain, tt.before)
			q.SetPong([]byte("not any more"))
			if tt.written > 0 {
				if n, err := q.Write(&sink{t: t, takes: math.MaxInt}, tt.written); n != tt.written || err != nil {
					t.Fatalf("Write: %d, %v", n, err)
				}
			}
			q.Truncate()
			q.Add([]byte(c), nil, 0, 0)
			if got := drain(t, &q); got != tt.want+c || !q.Empty() {
				t.Errorf("%q is written, want %q", got, tt.want+c)
			}
		})
	}
}

// TestTruncateEvents is the same for events.
func TestTruncateEvents(t *testing.T) {
	const plain = "HTTP/1.1 200 \r\n\r\n"
	const a, b, c = "data: 1\n\n", "id: 2\ndata: 2\ndata: 3\n\n", "event: close\ndata: 4\n\n"
	for written := range len(plain + a + b) {
		for _, before := range []int{0, written / 2, written} {
			q := outqueue.Queue{Events: true}
			q.Add([]byte(plain+a+b), nil, len(plain), before)
			if written > before {
				if n, err := q.Write(&sink{t: t, takes: math.MaxInt}, written-before); n != written-before || err != nil {
					t.Fatalf("Write: %d, %v", n, err)
				}
			}
			q.Truncate()
			q.Add([]byte(c), nil, 0, 0)
			end := len(plain)
			for _, event := range []string{a, b} {
				if end < written {
					end += len(event)
				}
			}
			if got, want := drain(t, &q), (plain + a + b)[written:end]+c; got != want {
				t.Errorf("%d written, %d of them before: then %q, want %q", written, before, got, want)
			}
		}
	}
}

// TestSmallFramesShare: small frames stand in one buffer and go out in one piece.
func TestSmallFramesShare(t *testing.T) {
	var q outqueue.Queue
	for range 100 {
		q.Add([]byte(text(40)), nil, 0, 0)
	}
	s := &sink{t: t, takes: math.MaxInt}
	if n, err := q.Write(s, math.MaxInt); n != 4000 || err != nil || len(s.pieces) != 1 {
		t.Errorf("Write: %d, %v, in %d pieces; want 4,000 bytes in one", n, err, len(s.pieces))
	}
}

// TestPieces: a write takes 16 segments at most, and no more bytes than it may.
func TestPieces(t *testing.T) {
	for _, tt := range []struct{ most, written, pieces int }{
		{math.MaxInt, 16 * 5004, 16}, {2*5004 + 4, 2*5004 + 4, 3}, {2 * 5004, 2 * 5004, 2}, {5004, 5004, 1}, {3, 3, 1},
	} {
		var q outqueue.Queue
		for range 40 {
			q.Add(ws.AppendFrame(nil, ws.Binary, make([]byte, 5000)), nil, 0, 0)
		}
		s := &sink{t: t, takes: math.MaxInt}
		if n, err := q.Write(s, tt.most); n != tt.written || err != nil || len(s.pieces) != tt.pieces {
			t.Errorf("of %d bytes at most it writes %d in %d pieces (%v), want %d in %d", tt.most, n, len(s.pieces), err, tt.written, tt.pieces)
		}
	}
}

// TestTurnsMemory: small frames of its own that take turns with shared ones take 1 KiB each at most.
func TestTurnsMemory(t *testing.T) {
	const turns = 1000
	var q outqueue.Queue
	shared := &outqueue.Shared{Frame: ws.AppendFrame(nil, ws.Text, []byte("shared")), Released: func() {}}
	want := ""
	for range turns {
		q.Share(shared, 0, true)
		q.Add([]byte(text(10)), nil, 0, 0)
		want += string(shared.Frame) + text(10)
	}
	if got := q.Memory() / turns; got > 1024 {
		t.Errorf("%d bytes of memory a turn", got)
	}
	if got := drain(t, &q); got != want {
		t.Errorf("%q is written", got)
	}
}

// TestWrittenIsNotKept: of frames that were written before they are queued nothing is
// copied, and no array of a write keeps a buffer.
func TestWrittenIsNotKept(t *testing.T) {
	var q outqueue.Queue
	large := ws.AppendFrame(nil, ws.Binary, make([]byte, 100_000))
	q.Add(append(large, text(10)...), nil, 0, len(large))
	if got := q.Memory(); got > 5000 {
		t.Errorf("%d bytes of memory for a frame of 10 bytes", got)
	}
	q.Add(large, nil, 0, 0)
	keeper := &keeper{}
	if n, err := q.Write(keeper, math.MaxInt); n != len(large)+10 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	for _, p := range keeper.pieces {
		if p != nil {
			t.Errorf("an array still has %d bytes", len(p))
		}
	}
}

// keeper keeps the pieces that it must not keep.
type keeper struct {
	everything
	pieces [][]byte
}

func (k *keeper) Writev(pieces [][]byte) (n int, err error) {
	k.pieces = pieces
	return k.everything.Writev(pieces)
}

// TestPongWaits: a pong goes behind all else, the latest alone.
func TestPongWaits(t *testing.T) {
	var q outqueue.Queue
	q.Add([]byte(text(10)), nil, 0, 0)
	q.SetPong([]byte("first"))
	q.SetPong([]byte("last"))
	if n := q.FramePong(); n != 0 {
		t.Errorf("a pong of %d bytes is queued before its time", n)
	}
	if q.Len() != 14 || q.Unwritten() != 10 {
		t.Errorf("%d bytes wait, %d to be written; want 14 and 10", q.Len(), q.Unwritten())
	}
	drain(t, &q)
	if q.Empty() || q.FramePong() == 0 {
		t.Error("there is no pong when all else is written")
	}
	if got := drain(t, &q); got != "\x8a\x04last" || !q.Empty() {
		t.Errorf("%q is written, want the last pong", got)
	}
}

// TestPongPlaced: a pong keeps its place before what is queued next.
func TestPongPlaced(t *testing.T) {
	var q outqueue.Queue
	q.Add([]byte(text(10)), nil, 0, 0)
	if n := q.PlacePong(); n != 0 {
		t.Errorf("no pong waits, and %d bytes of one are queued", n)
	}
	q.SetPong([]byte("first"))
	if n := q.PlacePong(); n != 7 || q.Len() != 17 {
		t.Errorf("a pong of %d bytes is queued, %d wait; want 7 and 17", n, q.Len())
	}
	q.Add([]byte(text(20)), nil, 0, 0)
	q.SetPong([]byte("last"))
	if got, want := drain(t, &q), text(10)+"\x8a\x05first"+text(20); got != want {
		t.Errorf("%q is written, want %q", got, want)
	}
	if q.FramePong(); drain(t, &q) != "\x8a\x04last" {
		t.Error("no pong behind all else")
	}
}

// TestAllocations: a queue in use allocates nothing.
func TestAllocations(t *testing.T) {
	var q outqueue.Queue
	s := &sink{t: t, takes: math.MaxInt}
	small, large := []byte(text(100)), ws.AppendFrame(nil, ws.Binary, make([]byte, 5000))
	allocs := testing.AllocsPerRun(1000, func() {
		q.Add(small, nil, 0, 0)
		q.Add(large[:4], large[4:], 0, 50)
		for q.Unwritten() > 0 {
			_, _ = q.Write(s, 4000) // it takes all
		}
		s.wire = s.wire[:0]
	})
	if allocs > 2 { // the race detector has pools forget some
		t.Errorf("%v allocations a round", allocs)
	}
}

// TestMemory compares what queues say of themselves with what the heap has grown by.
func TestMemory(t *testing.T) {
	for name, fill := range map[string]func(*outqueue.Queue){
		"small frames": func(q *outqueue.Queue) {
			for range 300 {
				q.Add([]byte(text(100)), nil, 0, 0)
			}
		},
		"large frames": func(q *outqueue.Queue) {
			for range 20 {
				q.Add(make([]byte, 10), make([]byte, 10_000), 0, 0)
			}
		},
		"adopted": func(q *outqueue.Queue) {
			for range 20 {
				buf := buffer.Get(3000)
				buf.B = buf.B[:3000]
				q.Adopt(buf, 0)
			}
		},
		"a pong": func(q *outqueue.Queue) {
			q.Add([]byte(text(10)), nil, 0, 0)
			q.SetPong(nil)
		},
	} {
		queues := make([]*outqueue.Queue, 200)
		for i := range queues {
			queues[i] = new(outqueue.Queue)
		}
		before, told := heap(), 0
		for _, q := range queues {
			fill(q)
			told += q.Memory()
		}
		grown := heap() - before
		if least, most := grown*9/10, grown*11/10; told < least || told > most {
			t.Errorf("%s: %d bytes by their own account, %d in the heap", name, told, grown)
		}
		for _, q := range queues {
			if q.Release(); q.Memory() != 0 || !q.Empty() {
				t.Fatalf("%s: %d bytes of memory, and %d waiting, after Release", name, q.Memory(), q.Len())
			}
		}
	}
}

// heap is how much of it is in use, with nothing in the pools.
func heap() int {
	runtime.GC()
	runtime.GC() // what was in a pool is let go of by the second
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// BenchmarkWrite is a message that is queued and then written.
func BenchmarkWrite(b *testing.B) {
	var q outqueue.Queue
	small := []byte(text(64))
	b.ReportAllocs()
	for b.Loop() {
		q.Add(small, nil, 0, 0)
		if _, err := q.Write(everything{}, math.MaxInt); err != nil {
			b.Fatal(err)
		}
	}
}

// everything is a Writer that takes all.
type everything struct{}

func (everything) Write(p []byte) (int, error) { return len(p), nil }

func (everything) Missing(int) []byte { return nil }
func (everything) Told(int)           {}

func (everything) Writev(pieces [][]byte) (n int, err error) {
	for _, p := range pieces {
		n += len(p)
	}
	return n, nil
}

// BenchmarkReplace is the newest message of one of many keys, all of which wait.
func BenchmarkReplace(b *testing.B) {
	for _, keys := range []int{10, 1000, 10_000} {
		b.Run(strconv.Itoa(keys), func(b *testing.B) {
			var q outqueue.Queue
			all := make([]*outqueue.Shared, keys)
			for i := range all {
				all[i] = &outqueue.Shared{Frame: []byte(strings.Repeat("x", 100)), Key: i, KeyHash: uint32(i), Released: func() {}}
				q.Share(all[i], 0, true)
			}
			for i := 0; b.Loop(); i++ {
				at, size := q.Keyed(i%keys, uint32(i%keys))
				if size == 0 {
					b.Fatal("the key is not there")
				}
				q.Replace(at, all[i%keys])
			}
		})
	}
}
