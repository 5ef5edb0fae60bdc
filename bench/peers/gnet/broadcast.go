package main

import (
	"context"
	"slices"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// room is the loops of a broadcast.
type room struct {
	mu    sync.Mutex
	loops []*loop // changed by putting another one in its place
}

// loop is an event loop in a broadcast. Frames are made once. Its own goroutine
// writes them to its connections; the others leave them to it.
type loop struct {
	room  *room
	run   gnet.EventLoop
	conns []gnet.Conn // touched by the loop alone

	mu      sync.Mutex
	waiting []byte // frames of other loops
	spare   []byte // memory for more of them
}

// of gives the loop of a connection.
func (r *room) of(c gnet.Conn) *loop {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := c.EventLoop()
	for _, l := range r.loops {
		if l.run == run {
			return l
		}
	}
	l := &loop{room: r, run: run}
	r.loops = append(slices.Clip(r.loops), l)
	return l
}

func (r *room) all() []*loop {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loops
}

// Write sends frames to all connections of all loops. It is for the loop's own
// goroutine.
func (l *loop) Write(frames []byte) (int, error) {
	for _, other := range l.room.all() {
		if other != l {
			other.leave(frames)
		}
	}
	l.send(frames)
	return len(frames), nil
}

// leave leaves frames to the loop. What Execute runs may overtake when there is
// much of it, so the frames have a place of their own.
func (l *loop) leave(frames []byte) {
	l.mu.Lock()
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, frames...)
	l.mu.Unlock()
	if first {
		_ = l.run.Execute(context.Background(), l)
	}
}

// Run sends what other loops left, to each connection with one write.
func (l *loop) Run(context.Context) error {
	l.mu.Lock()
	frames := l.waiting
	l.waiting = l.spare[:0]
	l.mu.Unlock()
	l.send(frames)
	l.mu.Lock()
	l.spare = frames
	l.mu.Unlock()
	return nil
}

// send writes to the loop's connections; Write copies what the socket does not
// take. One that fails is closed, and taken out, meanwhile.
func (l *loop) send(frames []byte) {
	for i := len(l.conns) - 1; i >= 0; i-- {
		_, _ = l.conns[i].Write(frames)
	}
}

func (l *loop) add(c gnet.Conn) { l.conns = append(l.conns, c) }

// remove puts the last one in a connection's place, which send was at already.
func (l *loop) remove(c gnet.Conn) {
	i := slices.Index(l.conns, c)
	if i < 0 {
		return
	}
	last := len(l.conns) - 1
	l.conns[i], l.conns[last] = l.conns[last], nil
	l.conns = l.conns[:last]
}
