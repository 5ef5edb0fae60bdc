package load

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// idle holds connections that do nothing, for the server's memory, then sends a
// message to each.
func (r *run) idle(ctx context.Context) error {
	if err := r.connectAll(ctx); err != nil {
		return err
	}
	r.enter("idle")
	begin, before := r.engine.Now(), r.server.cpu()
	if err := r.last(ctx, r.plan.Duration); err != nil {
		return err
	}
	used := before.until(r.server.cpu())
	lasted := r.engine.Now() - begin
	connections := r.openNow()
	r.server.memory(connections, r.result)
	held := r.server.use
	if used.serverKnown {
		r.note(fmt.Sprintf("while idle the server used %.2f %% of a core", 100*used.server.Seconds()/lasted.Seconds()))
	}
	switch {
	case held.After == 0 || result.Known(held.PerConnection):
	case connections < result.LeastForMemory:
		r.note(fmt.Sprintf("what memory a connection takes is not told: it needs %d connections, there were %d", result.LeastForMemory, connections))
	default:
		r.note("what memory a connection takes is not told: the server did not grow, since it had room from before")
	}
	r.enter("measure")
	r.beginWindow()
	r.each(func(l *loop) { l.behave(&oneEach{}) })
	err := r.drain(ctx)
	r.endWindow()
	r.server.use.After, r.server.use.PerConnection = held.After, held.PerConnection // while idle
	if err != nil {
		return err
	}
	return r.closeAll(ctx)
}

// oneEach sends one message on each connection.
type oneEach struct {
	quiet
	next int // slot
}

// due sends on some connections, then looks at what came back meanwhile.
func (o *oneEach) due(l *loop, now time.Duration) time.Duration {
	for range 64 {
		if o.next == len(l.conns) {
			return never
		}
		if c := &l.conns[o.next]; c.state == open {
			l.send(c, 1)
		}
		o.next++
	}
	return now
}

func (o *oneEach) received(l *loop, c *conn) { l.came(c) }

// unsent is how many messages are still to be sent.
func (o *oneEach) unsent(l *loop) int { return len(l.conns) - o.next }
