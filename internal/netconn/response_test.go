package netconn_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/netconn"
)

const pieceSize = 1000

// TestResponseResets a stream whose peer takes a piece too slowly, and no other, however
// long the whole answer takes.
func TestResponseResets(t *testing.T) {
	for name, tt := range map[string]struct {
		takes time.Duration
		late  int
	}{
		"in time": {pace.Timeout - time.Second, 0}, "too slow": {pace.Timeout + time.Second, 1},
	} {
		inBubble(t, name, func(t *testing.T) {
			w, late := newResponse(tt.takes), 0
			r := netconn.NewResponse(w, pieceSize, pace.Timeout, func() { late++ })
			text := strings.Repeat("x", 3*pieceSize+1)
			n, err := io.WriteString(r, text)
			if late != tt.late || errors.Is(err, os.ErrDeadlineExceeded) != (late > 0) || late == 0 && w.wrote.String() != text || w.largest > pieceSize {
				t.Errorf("wrote %d bytes, %v; it was told %d times, want %d", n, err, late, tt.late)
			}
			time.Sleep(time.Hour)
			if late != tt.late {
				t.Error("it was told when all was over")
			}
		})
	}
}

// TestResponseEnd: what net/http writes when the handler has returned is bounded, and
// a handler's earlier deadline holds.
func TestResponseEnd(t *testing.T) {
	inBubble(t, "bounds", func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			wrote bool
			own   time.Duration
			want  time.Duration
		}{
			"nothing was written":     {false, 0, 0},
			"no deadline of its own":  {true, 0, pace.Timeout},
			"an earlier one":          {true, time.Second, time.Second},
			"a later one":             {true, time.Hour, pace.Timeout},
			"nothing, and a deadline": {false, time.Second, time.Second},
		} {
			w := newResponse(0)
			r := netconn.NewResponse(w, pieceSize, pace.Timeout, nil)
			if tt.own > 0 {
				if err := http.NewResponseController(r).SetWriteDeadline(now.Add(tt.own)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.wrote {
				_, _ = r.Write([]byte("x")) // it does not fail
			}
			r.End()
			if want := now.Add(tt.want); tt.want == 0 && !w.writeBy.IsZero() || tt.want > 0 && !w.writeBy.Equal(want) {
				t.Errorf("%s: a deadline %v from now, want %v", name, w.writeBy.Sub(now), tt.want)
			}
		}
	})
}

// TestResponsePasses on what a ResponseWriter may be asked besides.
func TestResponsePasses(t *testing.T) {
	w := newResponse(0)
	r := netconn.NewResponse(w, pieceSize, pace.Timeout, nil)
	r.Flush()
	if err := http.NewResponseController(r).Flush(); err != nil || w.flushes != 2 {
		t.Errorf("%v, flushed %d times, want 2", err, w.flushes)
	}
	if err := r.Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("Push where there is none: %v", err)
	}
	if netconn.Innermost(r) != w {
		t.Error("it does not unwrap")
	}
}

// TestBody fails a Read of a body that comes too slowly, once somebody waits for it.
func TestBody(t *testing.T) {
	slow := netconn.Pace{Bytes: 10, Timeout: 30 * time.Second}
	for name, tt := range map[string]struct {
		pause time.Duration // before each byte
		reads int           // that succeed; at most 100 are tried
	}{
		"in time":           {2900 * time.Millisecond, 100},
		"too slow":          {4 * time.Second, 7},
		"nothing comes":     {time.Hour, 0},
		"not waiting is no": {0, 100},
	} {
		inBubble(t, name, func(t *testing.T) {
			w, late := newResponse(0), 0
			b := netconn.NewBody(body{w, tt.pause}, w, slow, func() { late++ })
			reads := 0
			for ; reads < 100; reads++ {
				if _, err := b.Read(make([]byte, 100)); err != nil {
					break
				}
				if tt.pause == 0 {
					time.Sleep(time.Minute) // the reader's own time
				}
			}
			if want := min(1, 100-tt.reads); reads != tt.reads || late != want {
				t.Errorf("%d Reads, and it was told %d times; want %d and %d", reads, late, tt.reads, want)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
