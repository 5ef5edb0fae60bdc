package server

import (
	"io"
	"net"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/buffer"
)

// run is the reader's goroutine. It returns when there is nothing more to read.
func (b *bridge) run() {
	<-b.begun
	if b.conn == nil {
		b.refuse()
		return
	}
	defer b.srv.loopsDone.Done()
	switch {
	case b.guest != nil && !b.meet():
	case b.guest.speaksHTTP2():
		b.await() // each byte is net/http's
	default:
		b.readAll()
	}
	b.handOn()
}

// await returns when the connection is closed, or the far side is to be handed over.
func (b *bridge) await() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.over && b.handed == nil {
		b.change.Wait()
	}
}

func (b *bridge) readAll() {
	idle := make([]byte, bridgeIdle)
	for {
		if n, goOn := b.readOnce(idle); !goOn {
			return
		} else if n < len(idle) {
			continue
		}
		more := buffer.Get(bridgeRead)
		_, goOn := b.readOnce(more.B[:bridgeRead])
		more.Free()
		if !goOn {
			return
		}
	}
}

// readOnce reads into p and returns when turns have taken what came.
func (b *bridge) readOnce(p []byte) (n int, goOn bool) {
	b.mu.Lock()
	if b.handed != nil {
		b.mu.Unlock()
		return 0, false
	}
	b.reading, b.waited = true, b.waited-b.now()
	b.mu.Unlock()
	var err error
	for empty := 0; n == 0 && err == nil; empty++ {
		if n, err = b.far.Read(p); empty == maxEmptyReads {
			err = io.ErrNoProgress
		}
	}
	b.mu.Lock()
	b.reading, b.waited = false, b.waited+b.now()
	b.in, b.inErr = p[:n], err
	given := b.handed != nil
	b.mu.Unlock()
	if !given {
		why := readable
		if err != nil {
			why |= hangup // a slow hook is told
		}
		b.conn.loop.Post(b.conn.member(), why)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for (len(b.in) > 0 || b.paced && !b.asked && err == nil) && !b.over && b.handed == nil {
		b.change.Wait()
	}
	b.asked = false
	if b.handed != nil {
		b.in = slices.Clone(b.in) // p is the caller's
		return n, false
	}
	b.in = nil
	return n, err == nil && !b.over
}

// goOn has a reader that is paced read on, and one whose connection is upgraded at its own
// pace. The caller holds mu.
func (b *bridge) goOn() {
	if b.paced {
		b.asked, b.paced = true, b.conn.stateNow() <= stateHead
		b.change.Broadcast()
	}
}

// readAhead has the reader look whether the peer is still there, while its request waits.
func (b *bridge) readAhead() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.goOn()
}

// handOver has the reader end, and call take with what it has read and no turn has taken.
// The far side is take's then. The connection has left its loop, or is about to.
func (b *bridge) handOver(take func(unread []byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handed = take
	b.change.Broadcast()
	if b.reading {
		b.late = time.AfterFunc(hangUpTime, func() { _ = b.far.Close() }) // it knows no deadlines: the reader sees
		_ = b.far.(net.Conn).SetReadDeadline(time.Unix(1, 0))             // as said
	}
}

// handOn does what handOver has asked for, as the reader's last act.
func (b *bridge) handOn() {
	b.mu.Lock()
	take, unread := b.handed, b.in
	if b.late != nil && take != nil {
		b.late.Stop()
		_ = b.far.(net.Conn).SetReadDeadline(time.Time{}) // who reads finds out if it is broken
	}
	b.mu.Unlock()
	if take != nil {
		take(unread)
	}
}
