package load

import (
	"context"
	"time"
)

// broadcast has the first connections publish, each its part of a rate, to a server
// that is expected to give each message to all connections, to its sender too or
// not. It measures how long each takes to get there, and how far the first and the
// last are apart.
func (r *run) broadcast(ctx context.Context) error {
	r.result.Unit = "delivery"
	r.each(func(l *loop) { l.checking = published })
	if r.plan.RampLimit > 0 {
		return r.ramp(ctx)
	}
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	if err := r.beginPublishing(ctx); err != nil {
		return err
	}
	r.enter("warm up")
	err := r.last(ctx, r.plan.Warmup)
	if err == nil {
		err = r.measure(ctx, r.plan.Duration)
	}
	if err != nil {
		return err
	}
	r.enter("close")
	if _, err := r.endPublishing(ctx); err != nil {
		return err
	}
	return r.hangUp(ctx)
}

// subscribing is how long a server may take from its answer to the upgrade until it
// gives messages to a connection.
const subscribing = 200 * time.Millisecond

// beginPublishing has all loops ready to receive, and then some of them publish.
func (r *run) beginPublishing(ctx context.Context) error {
	if r.plan.EventStreams && r.await(barrier{At: "event streams", Left: r.sum((*loop).openStreams)}).Left == 0 {
		return errNoStream
	}
	if err := pause(ctx, subscribing); err != nil {
		return err
	}
	p := r.publication
	sent := r.publishedSoFar()
	p.complete = false
	p.begin()
	r.each(func(l *loop) { l.behave(newPublishing(l, p, sent)) })
	r.await(barrier{At: "all are ready to receive"})
	if p.inFlight > 0 {
		for range p.inFlight {
			p.publishNext()
		}
		return nil
	}
	start := p.beginning()
	r.each(func(l *loop) {
		if b := l.behaviour.(*publishing); b.mine > 0 {
			b.start = start
		}
	})
	return nil
}

// beginning is when an open loop may begin now. The turns of all processes fit together
// if all begin a whole number of rounds after the zero of their common clock.
func (p *publication) beginning() time.Duration {
	now, round := p.run.engine.Now(), time.Duration(float64(p.publishers)*p.gap)
	if p.run.zero == 0 || round > time.Second { // which is too long to wait, and turns are rare
		return now
	}
	return now + round - (now+p.run.zero)%round
}

// publishedSoFar is how many messages each publisher has sent.
func (r *run) publishedSoFar() []uint32 {
	sent := make([]uint32, r.plan.Publishers)
	r.each(func(l *loop) {
		for i := range l.conns {
			if c := &l.conns[i]; int(c.number) < len(sent) {
				sent[c.number] = c.sent
			}
		}
	})
	return r.await(barrier{At: "published so far", Sent: sent}).Sent
}

// endPublishing publishes no more, waits until all has arrived, and gives how many
// messages since beginPublishing did not.
func (r *run) endPublishing(ctx context.Context) (missing int, err error) {
	p := r.publication
	p.end.Store(int64(r.engine.Now()))
	p.over.Store(true)
	_, err = r.awaitNone(ctx, func(l *loop) int { return l.behaviour.(*publishing).unsent(l) })
	if err != nil {
		return 0, err
	}
	missing, err = r.awaitArrivals(ctx, r.publishedSoFar())
	if err != nil {
		return 0, err
	}
	if missing > 0 {
		r.lost("messages that did not arrive", missing)
		r.missing += int64(missing)
	}
	p.complete = true
	passed := r.sum(func(l *loop) int { return l.behaviour.(*publishing).passed })
	return missing + r.await(barrier{At: "messages passed over", Left: passed}).Left, nil
}

// awaitArrivals waits until all has arrived, or nothing more does, and gives what is
// missing: a server that is behind has not lost anything.
func (r *run) awaitArrivals(ctx context.Context, sent []uint32) (missing int, err error) {
	for before := -1; ; before = missing {
		missing, err = r.awaitNone(ctx, func(l *loop) int { return l.behaviour.(*publishing).missing(l, sent) })
		if err != nil || missing == 0 || missing == before {
			return missing, err
		}
	}
}

// publishing is one loop's part in a broadcast.
type publishing struct {
	quiet
	*publication
	mine    int           // how many of its connections publish: the first ones
	start   time.Duration // of an open loop; never: it has not begun
	turn    uint64        // of the loop's next message
	payload []byte        // of the message being sent

	next   []uint32 // number of the next message at a connection of a publisher
	tracks []track  // of each publisher's messages
	open   int      // connections that receive
	passed int      // messages that did not come to a connection before a later one
}

// newPublishing begins after sent messages of each publisher.
func newPublishing(l *loop, p *publication, sent []uint32) *publishing {
	b := &publishing{
		publication: p, start: never,
		mine:   max(0, min(len(sent)-int(l.conns[0].number), len(l.conns))),
		next:   make([]uint32, 0, len(l.conns)*len(sent)),
		tracks: make([]track, len(sent)),
	}
	for range l.conns {
		b.next = append(b.next, sent...)
	}
	for publisher := range b.tracks {
		b.tracks[publisher].first = sent[publisher]
	}
	for i := range l.conns {
		c := &l.conns[i]
		if c.base, c.wanted = c.sent, 0; c.state == open {
			b.open++
		} else if i < b.mine {
			b.orphan(l, c)
		}
	}
	p.receive(l, b.open)
	return b
}

// orphan counts a publisher that is no more.
func (b *publishing) orphan(l *loop, c *conn) {
	l.meter.trouble("the connection that publishes was lost, or never opened")
	b.leave(c.number)
}

// at is when the loop's k-th message is due, and on which of its connections: the
// publishers of all loops take turns.
func (b *publishing) at(l *loop, k uint64) (slot int, at time.Duration) {
	slot = int(k % uint64(b.mine))
	return slot, b.dueAt(l, slot, uint32(k/uint64(b.mine)))
}

// dueAt is when a connection's n-th message is due.
func (b *publishing) dueAt(l *loop, slot int, n uint32) time.Duration {
	turn := float64(n)*float64(b.publishers) + float64(l.conns[slot].number)
	return b.start + time.Duration(turn*b.gap)
}

// due publishes what is due by now. A message whose connection takes no more
// waits; its latency counts from when it was due.
func (b *publishing) due(l *loop, now time.Duration) time.Duration {
	if b.start == never {
		return never
	}
	const most = 256 // then look at what came meanwhile
	for range most {
		slot, at := b.at(l, b.turn)
		if at >= b.ends() {
			return never
		}
		if at > now {
			return at
		}
		b.turn++
		c := &l.conns[slot]
		if c.state != open {
			continue
		}
		if c.wanted++; len(c.unsent) == 0 && l.meter.measures(at) {
			l.meter.late.Record(l.engine.Now() - at)
		}
		b.emptied(l, c)
	}
	return now
}

// emptied publishes what became due while the kernel took no more.
func (b *publishing) emptied(l *loop, c *conn) {
	for c.state == open && len(c.unsent) == 0 && c.sent-c.base < c.wanted {
		due := l.engine.Now()
		if b.inFlight == 0 {
			due = b.dueAt(l, l.slot(c), c.sent-c.base)
		}
		if b.measures(due + l.zero) {
			l.meter.Published++
		}
		b.payload = l.content.publish(b.payload, head{c.number, c.sent, due + l.zero})
		c.sent++
		l.out = l.appendMessage(l.out[:0], c, b.payload)
		l.write(c, l.out)
	}
}

// ends is when no more messages are due, on the loop's clock.
func (b *publishing) ends() time.Duration {
	if b.over.Load() {
		return time.Duration(b.end.Load())
	}
	return never
}

// unsent is how many messages were due and are still to be sent, or some number if
// the loop is behind.
func (b *publishing) unsent(l *loop) (n int) {
	if b.start != never {
		if _, at := b.at(l, b.turn); at < b.ends() {
			n++
		}
	}
	for i := range b.mine {
		if c := &l.conns[i]; c.state == open {
			n += int(c.wanted - (c.sent - c.base))
		}
	}
	return n
}

// missing is how many messages the loop's receivers have not.
func (b *publishing) missing(l *loop, sent []uint32) (n int) {
	for slot := range l.conns {
		if l.conns[slot].state != open {
			continue
		}
		for publisher, next := range b.nextOf(slot) {
			if int(l.conns[slot].number) != publisher || l.meter.Own {
				n += int(sent[publisher] - next)
			}
		}
	}
	return n
}

// nextOf is what a connection has next of each publisher.
func (b *publishing) nextOf(slot int) []uint32 {
	return b.next[slot*b.publishers:][:b.publishers]
}

// maxSkipped bounds how many messages of a publisher may be passed over at once.
const maxSkipped = 1 << 20

// received takes a message that is one of those published. Those of one publisher
// are to come in their order, each once.
func (b *publishing) received(l *loop, c *conn) {
	of := &c.in.of
	next := &b.nextOf(l.slot(c))[of.publisher]
	own := c.number == of.publisher
	switch ahead := int32(of.number - *next); {
	case ahead < 0:
		l.meter.Again++
		l.meter.trouble("doubled: a message came again, or behind a later one of its publisher")
		return
	case ahead > maxSkipped:
		l.wrongEcho(c, "it is message %d of publisher %d, and %d was due", of.number, of.publisher, *next)
		return
	case ahead > 0:
		b.passed += int(ahead)
		l.meter.Skipped += int64(ahead)
		l.meter.add(skipped(int(ahead)))
		if !own {
			b.skip(l, of.publisher, *next, of.number)
		}
	}
	*next = of.number + 1
	l.meter.done(l.now, of.due, l.now-of.due, c.in.size)
	if own {
		l.meter.Own = true
		return
	}
	if a := b.arrival(l, of.publisher, of.number); a != nil {
		if a.first == 0 {
			a.first, a.due = l.now, of.due
		}
		a.last = l.now
		a.left--
		b.settle(l, of.publisher)
	}
}

// ended: what the others wait for no longer includes this connection.
func (b *publishing) ended(l *loop, c *conn, _ bool) {
	slot := l.slot(c)
	b.open--
	for publisher, next := range b.nextOf(slot) {
		if t := &b.tracks[publisher]; publisher != int(c.number) && len(t.arrivals) > 0 {
			b.skip(l, uint32(publisher), next, t.end())
		}
	}
	if slot < b.mine {
		b.orphan(l, c)
	}
	b.receive(l, b.open)
}
