package outqueue_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/outqueue"
	"github.com/millrace/millrace/ws"
)

// gapQueue is a queue of which a frame is begun, and others wait that may be dropped: A to E, of 12 bytes
// each. B and D have a key, and expire.
func gapQueue(t *testing.T, gaps bool) *outqueue.Queue {
	q := &outqueue.Queue{Gaps: gaps}
	q.Add([]byte(text(30)), nil, 0, 0)
	if _, err := q.Write(&sink{t: t, takes: 1}, math.MaxInt); err != nil {
		t.Fatal(err)
	}
	for i, name := range strings.Split("ABCDE", "") {
		s := &outqueue.Shared{Frame: ws.AppendFrame(nil, ws.Text, []byte(strings.Repeat(name, 10))), Released: func() {}}
		if i%2 == 1 {
			s.Key, s.Expires = name, 1
		}
		q.Share(s, 0, true)
	}
	return q
}

// tell is a notice of missing frames.
func tell(missing int) []byte { return ws.AppendFrame(nil, ws.Text, fmt.Append(nil, missing)) }

// drainTold writes all, with the counts of the gaps in their places.
func drainTold(t *testing.T, q *outqueue.Queue) string {
	s := &sink{t: t, takes: math.MaxInt, tell: tell}
	for !q.Empty() {
		if _, err := q.Write(s, math.MaxInt); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for rest := s.wire[29:]; len(rest) > 0; rest = rest[ws.FrameSize(rest):] {
		payload := string(rest[2:ws.FrameSize(rest)])
		all = append(all, strings.TrimRight(payload, payload[:1])+payload[:1])
	}
	if n := q.Memory(); n != 0 {
		t.Errorf("%d bytes of memory for an empty queue", n)
	}
	return strings.Join(all, " ")
}

// TestGaps: with Gaps, what is dropped is told of in its place, once for all that stood side by side.
func TestGaps(t *testing.T) {
	oldest := func(q *outqueue.Queue) { q.DropOldest(1) }
	expire := func(q *outqueue.Queue) { q.Expire(1) }
	newest := func(q *outqueue.Queue) { q.AddGap(1) }
	remove := func(key string) func(*outqueue.Queue) {
		return func(q *outqueue.Queue) {
			at, size := q.Keyed(key, 0)
			if size == 0 {
				panic(key + " does not wait")
			}
			q.Remove(at)
		}
	}
	for _, tt := range []struct {
		name  string
		what  []func(*outqueue.Queue)
		want  string
		plain string // without Gaps
	}{
		{"the oldest", []func(*outqueue.Queue){oldest}, "1 B C D E", "B C D E"},
		{"one by one", []func(*outqueue.Queue){oldest, oldest, oldest}, "3 D E", "D E"},
		{"in the midst", []func(*outqueue.Queue){expire}, "A 1 C 1 E", "A C E"},
		{"what stood between two gaps", []func(*outqueue.Queue){expire, oldest, oldest}, "4 E", "E"},
		{"before a gap", []func(*outqueue.Queue){expire, oldest}, "2 C 1 E", "C E"},
		{"behind a gap", []func(*outqueue.Queue){oldest, expire}, "2 C 1 E", "C E"},
		{"the newest", []func(*outqueue.Queue){newest, newest}, "A B C D E 2", "A B C D E"},
		{"all", []func(*outqueue.Queue){newest, oldest, oldest, oldest, oldest, oldest}, "6", ""},
		{"superseded", []func(*outqueue.Queue){remove("B")}, "A C D E", "A C D E"},
		{"superseded behind a gap", []func(*outqueue.Queue){oldest, remove("B")}, "1 C D E", "C D E"},
		{"superseded between two gaps", []func(*outqueue.Queue){oldest, oldest, oldest, newest, func(q *outqueue.Queue) {
			q.Share(&outqueue.Shared{Frame: []byte(text(10)), Key: "x", Released: func() {}}, 0, true)
			q.AddGap(2)
		}, remove("x")}, "3 D E 3", "D E"},
		{"cut short", []func(*outqueue.Queue){oldest, (*outqueue.Queue).Truncate}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, gaps := range []bool{true, false} {
				q := gapQueue(t, gaps)
				for _, do := range tt.what {
					do(q)
				}
				want := tt.want
				if !gaps {
					want = tt.plain
				}
				if got := drainTold(t, q); got != want {
					t.Errorf("with gaps %v: %q, want %q", gaps, got, want)
				}
			}
		})
	}
}

// TestGapAlone: a queue of a gap alone is not empty, and no pong goes before it.
func TestGapAlone(t *testing.T) {
	alone := func() *outqueue.Queue {
		q := &outqueue.Queue{Gaps: true}
		q.SetPong(nil)
		q.AddGap(1)
		if q.AddGap(1); q.Empty() || q.Unwritten() != 0 || q.Len() != 0 || q.FramePong() != 0 {
			t.Errorf("empty %v, %d bytes to be written of %d", q.Empty(), q.Unwritten(), q.Len())
		}
		return q
	}
	q, s := alone(), &sink{t: t, takes: math.MaxInt, tell: tell}
	if n, err := q.Write(s, math.MaxInt); err != nil || string(s.wire) != string(tell(2)) {
		t.Errorf("%d bytes, %v: %q", n, err, s.wire)
	}
	if q.FramePong() == 0 || drain(t, q) != string(ws.AppendFrame(nil, ws.Pong, nil)) {
		t.Error("no pong behind the gap")
	}
	for _, end := range []func(*outqueue.Queue){(*outqueue.Queue).Truncate, (*outqueue.Queue).Release} {
		q := alone()
		if end(q); !q.Empty() || q.Memory() != 0 {
			t.Errorf("empty %v, %d bytes of memory", q.Empty(), q.Memory())
		}
	}
}

// TestGapsTold: a gap becomes a frame when a write takes some of that, and not before: until then it counts no bytes, and what is dropped
// beside it is told of together with it.
func TestGapsTold(t *testing.T) {
	q := &outqueue.Queue{Gaps: true}
	for range 20 {
		q.Share(&outqueue.Shared{Frame: []byte(text(10)), Released: func() {}}, 0, false)
		q.AddGap(1)
	}
	frame, notice := len(text(10)), len(tell(1))
	told := 0
	s := &sink{t: t, tell: tell, told: func(int) { told++ }}
	for _, tt := range []struct{ takes, told, unwritten int }{
		{0, 0, 20 * frame},
		{frame, 0, 19 * frame},
		{1, 1, 19*frame + notice - 1},
		{notice - 1 + frame, 1, 18 * frame},
		{2 * (notice + frame), 3, 16 * frame},
	} {
		s.takes = tt.takes
		if _, err := q.Write(s, math.MaxInt); (err == errAgain) != (tt.takes == 0) {
			t.Fatal(err)
		}
		if told != tt.told || q.Unwritten() != tt.unwritten {
			t.Fatalf("%d gaps are told of and %d bytes wait, want %d and %d", told, q.Unwritten(), tt.told, tt.unwritten)
		}
	}
	q = gapQueue(t, true)
	q.DropOldest(1)
	s.takes = 0
	if _, err := q.Write(s, math.MaxInt); err != errAgain {
		t.Fatal(err)
	}
	q.DropOldest(1)
	if got := drainTold(t, q); got != "2 C D E" {
		t.Errorf("got %q", got)
	}
}
