package loop

import (
	"time"

	"github.com/millrace/millrace/poller"
)

// noticeStop begins to drain, or gives every member a turn to end in.
func (l *Loop[M]) noticeStop(stop Reason) {
	l.stopSeen = stop
	if stop&Stopped == 0 {
		l.mu.Lock()
		window := l.window
		l.mu.Unlock()
		l.pace = newPace(len(l.table.chunks), l.table.used, window, l.clock.Now())
		l.host.Stopping(stop)
		return
	}
	l.pace = nil
	l.host.Stopping(stop)
	next := 0
	l.jobs = append(l.jobs, job[M]{task: TaskFunc(func() (again bool) {
		next, again = l.Each(next, chunkSlots, func(m M, _ Tick, _ poller.Token) {
			l.nextRound = append(l.nextRound, job[M]{member: m, why: stop})
		})
		return again
	})})
}

// finished says whether the loop is over, and ends it: it was told to and the last
// member is gone. A member in a slow turn keeps its loop.
func (l *Loop[M]) finished() bool {
	if l.stopSeen == 0 || l.table.used+len(l.jobs)+len(l.sources) > 0 {
		return false
	}
	l.mu.Lock()
	l.ended = len(l.inbox) == 0 && l.holds == 0
	ended := l.ended
	l.mu.Unlock()
	if ended {
		if err := l.poll.Close(); err != nil {
			l.group.config.Log.Error("poller not closed", "err", err)
		}
		l.host.Ended()
	}
	return ended
}

// IsOver says whether the loop is over, which in a drain comes to each at its time. It
// may be called from any goroutine.
func (c *core) IsOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// StandsStill says whether the loop is in a slow turn and could not be handed over: all
// workers are held. It may be called from any goroutine.
func (c *core) StandsStill() bool {
	turn := c.word.n.Load()
	return under(turn) && c.still.Load() == turn
}

// RequestStop makes the leader end all members: politely, within the window
// (Draining), or at once (Stopped). It may be called from any goroutine.
func (c *core) RequestStop(why Reason, window time.Duration) {
	c.mu.Lock()
	if c.stop |= why; why&Draining != 0 {
		c.window = window
	}
	ended := c.ended
	c.mu.Unlock()
	if !ended {
		c.poll.Wake()
	}
}

// Hold keeps the loop from ending, whatever it was told, until Release: it has nothing to
// do perhaps, but something may be posted to it. It may be called from any goroutine;
// false means that the loop has ended.
func (c *core) Hold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.holds++
	return true
}

// Release takes back one Hold.
func (c *core) Release() {
	c.mu.Lock()
	c.holds--
	c.mu.Unlock()
	c.poll.Wake()
}
