package pollertest

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/poller"
)

var concurrencyTests = []test{
	{"AddWakeAndWriteBesideWait", besideWait},
	{"ReadBesideWrite", readBesideWrite},
}

// besideWait adds, writes to and closes connections from several goroutines
// while one waits and echoes what it reads.
func besideWait(b *bed) {
	const workers, rounds = 4, 25
	var (
		fds  sync.Map // token to descriptor
		stop atomic.Bool
		done = make(chan struct{})
	)
	go func() {
		defer close(done)
		echoUntil(b, &stop, &fds)
	}()
	var running sync.WaitGroup
	for w := range workers {
		conns := make([]pair, rounds)
		for i := range conns {
			conns[i] = b.connect()
		}
		running.Go(func() {
			for i, c := range conns {
				token := poller.Token(w*rounds + i)
				fds.Store(token, c.fd)
				b.poller.Wake()
				b.checkEcho(c, token)
				b.poller.Wake()
			}
		})
	}
	running.Wait()
	stop.Store(true)
	b.poller.Wake()
	<-done
	fds.Range(func(_, fd any) bool {
		b.closeFD(fd.(int))
		return true
	})
}

// checkEcho adds a connection and has its bytes echoed. It may run in any
// goroutine, so it does not end the test.
func (b *bed) checkEcho(c pair, token poller.Token) {
	if err := b.poller.Add(c.fd, token); err != nil {
		b.Errorf("Add: %v", err)
		return
	}
	for _, message := range []string{"hello", "once more"} {
		if _, err := io.WriteString(c.peer, message); err != nil {
			b.Errorf("peer's Write: %v", err)
			return
		}
		got := make([]byte, len(message))
		if _, err := io.ReadFull(c.peer, got); err != nil || string(got) != message {
			b.Errorf("echo %q, %v, want %q", got, err, message)
			return
		}
	}
}

// echoUntil is a small server loop.
func echoUntil(b *bed, stop *atomic.Bool, fds *sync.Map) {
	events, p := make([]poller.Event, 8), make([]byte, 64)
	for !stop.Load() {
		n, err := b.poller.Wait(events, -1)
		if err != nil {
			b.Errorf("Wait: %v", err)
			return
		}
		for _, e := range events[:n] {
			fd, ok := fds.Load(e.Token)
			if !ok {
				b.Errorf("unknown token %d", e.Token)
				continue
			}
			if k, err := b.engine.Read(fd.(int), p); err == nil {
				b.engine.Write(fd.(int), p[:k])
			}
		}
	}
}

// readBesideWrite keeps both directions of one descriptor busy at once.
func readBesideWrite(b *bed) {
	const total = 1 << 20
	c := b.added(7)
	var running sync.WaitGroup
	running.Go(func() { sendAll(b, c.peer, total) })
	running.Go(func() {
		if _, err := io.CopyN(io.Discard, c.peer, total); err != nil {
			b.Errorf("peer's Read: %v", err)
		}
	})
	readable, writable := make(chan struct{}, 1), make(chan struct{}, 1)
	running.Go(func() {
		moveAll(b, total, readable, func(p []byte) (int, error) { return b.engine.Read(c.fd, p) })
	})
	running.Go(func() {
		moveAll(b, total, writable, func(p []byte) (int, error) { return b.engine.Write(c.fd, p) })
	})
	finished := make(chan struct{})
	go func() {
		running.Wait()
		close(finished)
		b.poller.Wake()
	}()
	dispatch(b, finished, readable, writable)
	b.closeFD(c.fd)
}

func sendAll(b *bed, peer net.Conn, total int) {
	if _, err := peer.Write(make([]byte, total)); err != nil {
		b.Errorf("peer's Write: %v", err)
	}
}

// moveAll reads or writes total bytes, waiting for its signal on ErrAgain.
func moveAll(b *bed, total int, ready <-chan struct{}, call func(p []byte) (int, error)) {
	p := make([]byte, 4096)
	for moved := 0; moved < total; {
		n, err := call(p[:min(len(p), total-moved)])
		switch {
		case errors.Is(err, poller.ErrAgain):
			<-ready
		case err != nil:
			b.Errorf("after %d bytes: %v", moved, err)
			return
		}
		moved += n
	}
}

// dispatch turns events into signals until all is finished.
func dispatch(b *bed, finished <-chan struct{}, readable, writable chan<- struct{}) {
	signal := func(c chan<- struct{}) {
		select {
		case c <- struct{}{}:
		default: // one is enough
		}
	}
	events := make([]poller.Event, 4)
	for {
		select {
		case <-finished:
			return
		default:
		}
		n, err := b.poller.Wait(events, -1)
		b.must("Wait", err)
		for _, e := range events[:n] {
			if e.Ready&poller.Readable != 0 {
				signal(readable)
			}
			if e.Ready&poller.Writable != 0 {
				signal(writable)
			}
		}
	}
}
