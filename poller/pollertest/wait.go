package pollertest

import (
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
)

var waitTests = []test{
	{"ZeroTimeoutReturns", zeroTimeout},
	{"TimeoutEnds", timeoutEnds},
	{"NoTimeoutWaitsForAnEvent", noTimeout},
	{"WakeDuringWait", wakeDuringWait},
	{"WakeBeforeWait", wakeBeforeWait},
	{"ManyWakesCountOnce", manyWakes},
	{"WakeTakesNoEventAway", wakeTakesNoEvent},
	{"WakeAfterClose", wakeAfterClose},
	{"WakeOrdersMemory", wakeOrdersMemory},
}

func zeroTimeout(b *bed) {
	for range 3 {
		n, err := b.poller.Wait(make([]poller.Event, 4), 0)
		b.must("Wait", err)
		if n != 0 {
			b.Fatalf("%d events of nothing", n)
		}
	}
}

// timeoutEnds allows a Wait to end early, which the contract does, but not
// never.
func timeoutEnds(b *bed) {
	for _, timeout := range []time.Duration{1, time.Millisecond, 30 * time.Millisecond} {
		ended := make(chan error, 1)
		go func() {
			_, err := b.poller.Wait(make([]poller.Event, 4), timeout)
			ended <- err
		}()
		b.must("Wait", b.advanceUntil(ended, timeout))
	}
}

// advanceUntil lets the engine's time go by until the Wait has ended.
func (b *bed) advanceUntil(ended <-chan error, step time.Duration) error {
	b.Helper()
	for began := time.Now(); time.Since(began) < patience; {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Millisecond):
			if b.cfg.Advance != nil {
				b.cfg.Advance(b.engine, step)
			}
		}
	}
	b.Fatal("Wait with a timeout did not end")
	return nil
}

func noTimeout(b *bed) {
	c := b.added(7)
	b.drain(c.fd)
	time.AfterFunc(5*time.Millisecond, func() { c.peer.Write([]byte("x")) })
	b.awaitReady(7, poller.Readable)
	b.closeFD(c.fd)
}

// waitsUntil counts how many Waits without an event end until done is set.
func (b *bed) waitsUntil(done *atomic.Bool) int {
	b.Helper()
	waits := 0
	for !done.Load() {
		n, err := b.poller.Wait(make([]poller.Event, 4), -1)
		b.must("Wait", err)
		if n != 0 {
			b.Fatalf("%d events of nothing", n)
		}
		waits++
	}
	return waits
}

func wakeDuringWait(b *bed) {
	for range 20 {
		var woken atomic.Bool
		time.AfterFunc(time.Millisecond, func() {
			woken.Store(true)
			b.poller.Wake()
		})
		b.waitsUntil(&woken)
	}
}

func wakeBeforeWait(b *bed) {
	for range 20 {
		b.poller.Wake()
		n, err := b.poller.Wait(make([]poller.Event, 4), -1)
		b.must("Wait", err)
		if n != 0 {
			b.Fatalf("%d events of a Wake", n)
		}
	}
}

// manyWakes allows for a few Waits that end with nothing, as the contract does.
func manyWakes(b *bed) {
	const wakes = 1000
	for range wakes {
		b.poller.Wake()
	}
	var done atomic.Bool
	time.AfterFunc(30*time.Millisecond, func() {
		done.Store(true)
		b.poller.Wake()
	})
	if waits := b.waitsUntil(&done); waits > wakes/10 {
		b.Errorf("%d Wakes ended %d Waits", wakes, waits)
	}
}

func wakeTakesNoEvent(b *bed) {
	c := b.added(7)
	b.drain(c.fd)
	for i := range 50 {
		b.poller.Wake()
		b.send(c.peer, "x")
		if i%2 == 0 {
			b.poller.Wake()
		}
		b.awaitReady(7, poller.Readable)
		b.readFull(c.fd, 7, 1)
		b.drain(c.fd)
	}
	b.closeFD(c.fd)
}

func wakeAfterClose(b *bed) {
	p, err := b.engine.NewPoller()
	b.must("NewPoller", err)
	p.Wake()
	b.must("Close", p.Close())
	for range 3 {
		p.Wake()
	}
}

// wakeOrdersMemory: what was written before Wake can be read after the Wait it
// ended. The race detector is the judge.
func wakeOrdersMemory(b *bed) {
	for i := range 100 {
		var message int
		var sent atomic.Bool
		go func() {
			message = i + 1
			sent.Store(true)
			b.poller.Wake()
		}()
		b.waitsUntil(&sent)
		if message != i+1 {
			b.Fatalf("message is %d", message)
		}
	}
}
