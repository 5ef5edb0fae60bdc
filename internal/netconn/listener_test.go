package netconn_test

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/netconn"
)

// closed is a net.Conn that counts its Closes.
type closed struct {
	net.Conn
	times atomic.Int32
}

func (c *closed) Close() error {
	c.times.Add(1)
	return nil
}

// TestListenerGivesWhatItIsOffered: in the order in which it came.
func TestListenerGivesWhatItIsOffered(t *testing.T) {
	l := netconn.NewListener()
	first, second := &closed{}, &closed{}
	l.Offer(first)
	l.Offer(second)
	for _, want := range []net.Conn{first, second} {
		if got, err := l.Accept(); got != want || err != nil {
			t.Errorf("Accept: %p, %v; want %p", got, err, want)
		}
	}
	if l.Addr() == nil {
		t.Error("no address: net/http shows it")
	}
}

// TestListenerCloses what waits, and what comes later.
func TestListenerCloses(t *testing.T) {
	l := netconn.NewListener()
	before, after := &closed{}, &closed{}
	l.Offer(before)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := before.times.Load(); got != 1 {
		t.Errorf("what waits was closed %d times", got)
	}
	l.Offer(after)
	if b, a := before.times.Load(), after.times.Load(); b != 1 || a != 1 {
		t.Errorf("closed %d and %d times, want once each", b, a)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want net.ErrClosed", err)
	}
}

// TestListenerLosesNone: whenever it is closed, each connection is accepted or closed.
func TestListenerLosesNone(t *testing.T) {
	for range 50 {
		l := netconn.NewListener()
		conns := make([]closed, 300) // more than may wait
		var accepted atomic.Int32
		var done sync.WaitGroup
		done.Go(func() {
			for i := range conns {
				l.Offer(&conns[i])
			}
		})
		done.Go(func() {
			for range 150 {
				if _, err := l.Accept(); err != nil {
					return
				}
				accepted.Add(1)
			}
			_ = l.Close() // it does not fail
		})
		done.Wait()
		shut := 0
		for i := range conns {
			shut += int(conns[i].times.Load())
		}
		if got := int(accepted.Load()) + shut; got != len(conns) {
			t.Fatalf("%d accepted and %d closed of %d", accepted.Load(), shut, len(conns))
		}
	}
}
