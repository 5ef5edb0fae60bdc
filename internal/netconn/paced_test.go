package netconn_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/netconn"
)

var pace = netconn.Pace{Bytes: 4 << 10, Timeout: 30 * time.Second}

// pacer is a Paced with its peer, in a bubble whose clock the tests move by sleeping.
type pacer struct {
	*netconn.Paced
	peer    net.Conn
	unacked atomic.Int64
	late    int // calls
}

func newPacer(t *testing.T) *pacer {
	near, far := net.Pipe()
	t.Cleanup(func() {
		_, _ = near.Close(), far.Close()
		time.Sleep(24 * time.Hour) // for those who still sleep: the clock stops with the test
	})
	p := &pacer{peer: far}
	p.Paced = netconn.NewPaced(near, pace, p.unacked.Load, func() { p.late++ })
	return p
}

// take has the peer take size bytes, after each pause.
func (p *pacer) take(size int, pause time.Duration) {
	for p.takeOnce(size, pause) {
	}
}

func (p *pacer) takeOnce(size int, pause time.Duration) (goOn bool) {
	time.Sleep(pause)
	_, err := io.ReadFull(p.peer, make([]byte, size))
	return err == nil
}

// inBubble runs a test on a clock of its own.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// TestPacedCuts those who take too little, by the time that it says, and nobody else.
func TestPacedCuts(t *testing.T) {
	inBubble(t, "nothing is taken", func(t *testing.T) {
		p := newPacer(t)
		began := time.Now()
		n, err := p.Write(make([]byte, 10_000))
		if took := time.Since(began); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || took < pace.Timeout || took > pace.Timeout+time.Second {
			t.Errorf("Write: %d, %v, after %v", n, err, took)
		}
		if _, again := p.Write(nil); again != err || p.late != 1 {
			t.Errorf("the next Write: %v, and it was told %d times; want %v, and once", again, p.late, err)
		}
	})
	inBubble(t, "a byte now and then", func(t *testing.T) {
		p := newPacer(t)
		go p.take(1, time.Second)
		if n, err := p.Write(make([]byte, 10_000)); n < 29 || n > 31 || err == nil || p.late != 1 {
			t.Errorf("Write: %d, %v, and it was told %d times", n, err, p.late)
		}
	})
	inBubble(t, "much, and then nothing", func(t *testing.T) {
		p := newPacer(t)
		go p.takeOnce(3*pace.Bytes, 20*time.Second)
		began := time.Now()
		n, err := p.Write(make([]byte, 10*pace.Bytes))
		if took := time.Since(began); n != 3*pace.Bytes || err == nil || took < 50*time.Second || took > 52*time.Second || p.late != 1 {
			t.Errorf("Write: %d, %v, after %v; it was told %d times", n, err, took, p.late)
		}
	})
	inBubble(t, "taken by the kernel, not acknowledged", func(t *testing.T) {
		p := newPacer(t)
		go func() {
			for p.takeOnce(pace.Bytes, pace.Timeout-2*time.Second) {
				p.unacked.Add(int64(pace.Bytes))
			}
		}()
		if n, err := p.Write(make([]byte, 10*pace.Bytes)); n != 10*pace.Bytes || err != nil || p.late != 0 {
			t.Errorf("Write: %d, %v, and it was told %d times", n, err, p.late)
		}
	})
	inBubble(t, "slow and steady", func(t *testing.T) {
		p := newPacer(t)
		go p.take(pace.Bytes, pace.Timeout-2*time.Second)
		if n, err := p.Write(make([]byte, 100*pace.Bytes)); n != 100*pace.Bytes || err != nil || p.late != 0 {
			t.Errorf("Write: %d, %v, and it was told %d times", n, err, p.late)
		}
	})
}

// TestPacedByAcknowledgement: what the peer's side acknowledges is progress, also where the
// kernel takes nothing.
func TestPacedByAcknowledgement(t *testing.T) {
	inBubble(t, "it goes on", func(t *testing.T) {
		p := newPacer(t)
		p.unacked.Store(1 << 20)
		done := make(chan error)
		go func() {
			_, err := p.Write(make([]byte, 10))
			done <- err
		}()
		for range 10 {
			time.Sleep(pace.Timeout - 2*time.Second)
			synctest.Wait()
			p.unacked.Add(-int64(pace.Bytes))
		}
		go p.take(10, 0)
		if err := <-done; err != nil || p.late != 0 {
			t.Errorf("Write: %v, and it was told %d times", err, p.late)
		}
	})
	inBubble(t, "it stops", func(t *testing.T) {
		p := newPacer(t)
		p.unacked.Store(1 << 20)
		go func() {
			time.Sleep(pace.Timeout / 2)
			p.unacked.Store(0)
		}()
		began := time.Now()
		_, err := p.Write(make([]byte, 10))
		if took := time.Since(began); err == nil || took < pace.Timeout*3/2 || took > pace.Timeout*3/2+2*time.Second || p.late != 1 {
			t.Errorf("Write: %v, after %v; it was told %d times", err, took, p.late)
		}
	})
	inBubble(t, "too little", func(t *testing.T) {
		p := newPacer(t)
		p.unacked.Store(1 << 20)
		go func() {
			time.Sleep(pace.Timeout / 2)
			p.unacked.Add(1 - int64(pace.Bytes))
		}()
		if _, err := p.Write(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) || p.late != 1 {
			t.Errorf("Write: %v, and it was told %d times", err, p.late)
		}
	})
}

// TestPacedOwnDeadline: the user's deadline holds beside the pace, and is no lateness.
func TestPacedOwnDeadline(t *testing.T) {
	for name, set := range map[string]func(*pacer, time.Time) error{
		"SetWriteDeadline": func(p *pacer, at time.Time) error { return p.SetWriteDeadline(at) },
		"SetDeadline":      func(p *pacer, at time.Time) error { return p.SetDeadline(at) },
	} {
		inBubble(t, name, func(t *testing.T) {
			p := newPacer(t)
			began := time.Now()
			if err := set(p, began.Add(5500*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, err := p.Write(make([]byte, 10))
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != 5500*time.Millisecond || p.late != 0 {
				t.Errorf("Write: %v, after %v; it was told %d times", err, took, p.late)
			}
			if err := set(p, time.Time{}); err != nil {
				t.Fatal(err)
			}
			go p.take(10, 0)
			if _, err := p.Write(make([]byte, 10)); err != nil {
				t.Errorf("a Write without the deadline: %v", err)
			}
		})
	}
}

// TestPacedSetFree: whoever has it then may wait for ever.
func TestPacedSetFree(t *testing.T) {
	inBubble(t, "free", func(t *testing.T) {
		p := newPacer(t)
		p.SetFree()
		go p.take(10, time.Hour)
		if _, err := p.Write(make([]byte, 10)); err != nil || p.late != 0 {
			t.Errorf("Write: %v, and it was told %d times", err, p.late)
		}
	})
}

// half is a connection whose direction can be ended.
type half struct {
	net.Conn
	ended bool
}

func (h *half) CloseWrite() error {
	h.ended = true
	return nil
}

func TestPacedCloseWrite(t *testing.T) {
	h := &half{}
	if err := netconn.NewPaced(h, pace, nil, nil).CloseWrite(); err != nil || !h.ended {
		t.Errorf("%v, ended %v", err, h.ended)
	}
	if err := netconn.NewPaced(&closed{}, pace, nil, nil).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("where it can not be: %v, want errors.ErrUnsupported", err)
	}
}

func TestEarlier(t *testing.T) {
	var none time.Time
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	for _, tt := range [][3]time.Time{{none, none, none}, {a, none, a}, {none, b, b}, {a, b, a}, {b, a, a}} {
		if got := netconn.Earlier(tt[0], tt[1]); got != tt[2] {
			t.Errorf("of %v and %v: %v", tt[0], tt[1], got)
		}
	}
}
