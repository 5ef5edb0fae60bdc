package netconn_test

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/netconn"
)

// newPiecer is a Piecewise with its peer, which takes size bytes after each pause.
func newPiecer(t *testing.T, size int, pause time.Duration) (c *netconn.Piecewise, late *atomic.Int32, taken <-chan int) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() {
		_, _ = near.Close(), far.Close()
		time.Sleep(24 * time.Hour) // for those who still sleep: the clock stops with the test
	})
	late = &atomic.Int32{}
	all := make(chan int, 1)
	go func() { // ends with the connection
		n := 0
		for {
			time.Sleep(pause)
			k, err := io.ReadFull(far, make([]byte, size))
			if n += k; err != nil {
				all <- n
				return
			}
		}
	}()
	return netconn.NewPiecewise(near, 1000, time.Minute, func() { late.Add(1) }), late, all
}

// TestPiecewise: a peer that takes each piece in time takes all, however long that is; one
// that does not ends the connection; of whoever has set it free nothing is asked.
func TestPiecewise(t *testing.T) {
	all := bytes.Repeat([]byte("piece"), 1000)
	inBubble(t, "in time", func(t *testing.T) {
		c, late, taken := newPiecer(t, 1000, 59*time.Second)
		n, err := c.Write(all)
		if n != len(all) || err != nil || late.Load() != 0 {
			t.Errorf("%d, %v, late %d times", n, err, late.Load())
		}
		_ = c.Close() // the peer sees
		if got := <-taken; got != len(all) {
			t.Errorf("%d taken", got)
		}
	})
	inBubble(t, "too late", func(t *testing.T) {
		c, late, _ := newPiecer(t, 1000, 61*time.Second)
		if n, err := c.Write(all); err == nil || n >= len(all) || late.Load() != 1 {
			t.Errorf("%d, %v, late %d times", n, err, late.Load())
		}
		if _, err := c.Write(all); err == nil {
			t.Error("the connection goes on")
		}
	})
	inBubble(t, "free", func(t *testing.T) {
		c, late, _ := newPiecer(t, 1000, time.Hour)
		c.SetFree()
		if n, err := c.Write(all); n != len(all) || err != nil || late.Load() != 0 {
			t.Errorf("%d, %v, late %d times", n, err, late.Load())
		}
	})
}
