package loop

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
)

// sourceToken marks tokens that name a source instead of a slot.
const sourceToken poller.Token = 1 << 63

// job is a thing for the leader to do: a member's turn, or a task.
type job[M Member] struct {
	member   M
	why      Reason
	returned bool // its slow turn is over, the loop has it back
	task     Task // nil: it is a turn
}

// core is what of a loop does not depend on its members.
type core struct {
	group *Group
	host  Host
	poll  poller.Poller
	ticker

	word   word                   // who owns the loop, see handover.go
	leader atomic.Pointer[Worker] // the one that leads, or led last

	mu     sync.Mutex    // guards what follows, Loop.inbox and Seat.posted
	stop   Reason        // Draining or Stopped, once the host says so
	window time.Duration // of the drain
	holds  int           // see Hold
	ended  bool          // no leader looks into the inbox any more

	probe     atomic.Int64 // when the watchdog asked how late the loop is; see lag.go
	lag       lagCounts
	handovers atomic.Uint64
	waits     atomic.Uint64
	still     atomic.Uint64 // the word of the last turn that it could not be taken out of
}

// Loop is a poller, its members, and the worker that leads it. Init makes it ready.
type Loop[M Member] struct {
	// The leader's: handed over with the loop.
	current   M // whose turn it is
	events    []poller.Event
	nextEvent int
	numEvents int
	jobs      []job[M] // done after the events
	nextJob   int
	nextRound []job[M]
	posted    []job[M] // the inbox's other array
	table     table[M]
	nextDue   Tick // no deadline is earlier
	sources   []*source
	stopSeen  Reason
	pace      *pace // while the loop drains, nil: none is left to get its turn
	round     Round

	core
	inbox []job[M] // guarded by mu
}

// source is a Source that the loop watches.
type source struct {
	Source
	token poller.Token
	retry Tick // when to have it look again; NoDue: when it is ready
}

// Init makes a loop of the group out of a poller. Group.Start has it led.
func (l *Loop[M]) Init(g *Group, host Host, p poller.Poller) {
	l.group, l.host, l.poll = g, host, p
	l.clock, l.nextDue = g.config.Clock, NoDue
	l.events = make([]poller.Event, g.config.Batch)
	l.update()
	g.add(l)
}

// lead runs the loop on w until it is over or w loses it because a turn was slow.
// Another worker goes on exactly where w was: all there is to know stands in the
// loop.
func (l *Loop[M]) lead(w *Worker) {
	var nobody M
	w.Round, w.word = l.round, &l.word
	l.leader.Store(w)
	for {
		for l.nextEvent < l.numEvents {
			event := l.events[l.nextEvent]
			l.nextEvent++
			if event.Token&sourceToken != 0 {
				l.takeSource(event.Token)
				continue
			}
			m := l.table.find(event.Token) // nobody: the event was under way when its member left
			if m == nobody {
				continue
			}
			if s := m.Seat(); event.Ready&poller.Hangup != 0 && !s.away {
				s.next |= markHungUp
			}
			if !l.turn(w, m, Reason(event.Ready)) {
				return
			}
		}
		for l.nextJob < len(l.jobs) {
			j := l.jobs[l.nextJob]
			l.jobs[l.nextJob] = job[M]{}
			l.nextJob++
			if !l.takeJob(w, j) {
				return
			}
		}
		l.collectJobs()
		if l.finished() {
			return
		}
		l.wait(w)
	}
}

// takeJob does a job; false means that w no longer leads.
func (l *Loop[M]) takeJob(w *Worker, j job[M]) bool {
	switch {
	case j.returned:
		return l.takeBack(w, j.member, j.why)
	case j.task == nil && j.member.Seat().away:
		s := j.member.Seat()
		s.missed |= j.why | j.member.MissedWhileAway(j.why&^Hangup) // a turn that was to look for one
	case j.task == nil:
		return l.turn(w, j.member, j.why)
	case j.task.Do():
		l.nextRound = append(l.nextRound, j)
		runtime.Gosched() // a long task would keep other goroutines waiting, until Go's runtime steps in after 10 ms
	}
	return true
}

func (l *Loop[M]) takeSource(token poller.Token) {
	for _, s := range l.sources {
		if s.token == token {
			s.retry = NoDue
			s.Ready()
		}
	}
}

// collectJobs makes the jobs of the next round: members that have more to do, the
// inbox, and those whose deadline is over.
func (l *Loop[M]) collectJobs() {
	l.jobs, l.nextRound = l.nextRound, l.jobs[:0]
	l.nextJob = 0

	l.mu.Lock()
	l.inbox, l.posted = l.posted[:0], l.inbox
	stop := l.stop
	for _, j := range l.posted {
		if j.why&Woken != 0 {
			j.member.Seat().posted = false
		}
	}
	l.mu.Unlock()
	l.jobs = append(l.jobs, l.posted...)
	clear(l.posted)

	if stop&^l.stopSeen != 0 {
		l.noticeStop(stop)
	}
	if l.pace != nil {
		l.drainSome()
	}
	l.answerLag()
	l.collectExpired()
	l.host.Round()
}

// expiredPerRound bounds the members that get a turn for their deadline in one round,
// so that the others are served meanwhile.
const expiredPerRound = 2048

func (l *Loop[M]) collectExpired() {
	now := l.Now()
	if l.nextDue > now {
		return
	}
	l.nextDue = l.table.expired(now, expiredPerRound, func(m M) {
		l.jobs = append(l.jobs, job[M]{member: m, why: Expired})
	})
	for _, s := range l.sources {
		if s.retry <= now {
			s.retry = NoDue
			s.Ready()
		}
		l.nextDue = min(l.nextDue, s.retry)
	}
}

// wait fills the next batch of events. It does not block while there are jobs.
func (l *Loop[M]) wait(w *Worker) {
	l.endRound()
	l.nextEvent, l.numEvents = 0, 0
	n, err := l.poll.Wait(l.events, l.waitTime())
	l.update()
	l.beginRound(w)
	if err != nil {
		l.group.config.Log.Error("poller failed", "err", err)
		time.Sleep(10 * time.Millisecond) // not at full speed, if it goes on failing
		return
	}
	l.numEvents = n
}

func (l *Loop[M]) waitTime() time.Duration {
	switch {
	case len(l.jobs)+len(l.nextRound) > 0:
		return 0
	case l.pace != nil:
		return max(min(l.nextDue.Time(), l.pace.next)-l.clock.Now(), 0)
	case l.nextDue == NoDue:
		return -1
	}
	return max(l.nextDue.Time()-l.clock.Now(), 0)
}

// Post asks for a turn of m. It may be called from any goroutine; false means that
// the loop has ended. Woken is posted once at a time.
func (l *Loop[M]) Post(m M, why Reason) bool { return l.post(job[M]{member: m, why: why}) }

// PostTask has the leader do t. It may be called from any goroutine; false means
// that the loop has ended.
func (l *Loop[M]) PostTask(t Task) bool { return l.post(job[M]{task: t}) }

func (l *Loop[M]) post(j job[M]) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	if j.why&Woken != 0 {
		s := j.member.Seat()
		if s.posted {
			l.mu.Unlock()
			return true
		}
		s.posted = true
	}
	l.inbox = append(l.inbox, j)
	l.mu.Unlock()
	l.poll.Wake()
	return true
}

// Token is what Enter has given the member with this seat. It may be called from any
// goroutine, as long as the member has not left: see Member.Left.
func (l *Loop[M]) Token(s *Seat) poller.Token { return l.table.tokenOf(s.slot) }

// What follows is the leader's.

// Enter gives m a place in the loop, and the token that its descriptor is to be
// watched with, if it has one.
func (l *Loop[M]) Enter(m M) poller.Token { return l.table.insert(m, l.Now()) }

// Withdraw takes back Enter, if m has had no turn yet.
func (l *Loop[M]) Withdraw(m M) { l.table.remove(m.Seat().slot) }

// NextRound gives m a turn in the next round.
func (l *Loop[M]) NextRound(m M, why Reason) {
	l.nextRound = append(l.nextRound, job[M]{member: m, why: why})
}

// ThisRound gives m a turn in this round, after all others.
func (l *Loop[M]) ThisRound(m M, why Reason) {
	l.jobs = append(l.jobs, job[M]{member: m, why: why})
}

// NextRoundTask has t done in the next round.
func (l *Loop[M]) NextRoundTask(t Task) { l.nextRound = append(l.nextRound, job[M]{task: t}) }

// SetDue makes sure that m gets a turn at the given tick, at the latest.
func (l *Loop[M]) SetDue(m M, due Tick) {
	l.table.setDue(m.Seat().slot, due)
	l.nextDue = min(l.nextDue, due)
}

// RoundBy has a round begin at the given tick, at the latest. It is for Host.Round,
// which is called in each, and lasts until then.
func (l *Loop[M]) RoundBy(at Tick) { l.nextDue = min(l.nextDue, at) }

// Due is the deadline of the member with this seat.
func (l *Loop[M]) Due(s *Seat) Tick { return l.table.due(s.slot) }

// Since is when the member with this seat came into the loop.
func (l *Loop[M]) Since(s *Seat) Tick { return l.table.since(s.slot) }

// Find is the member that Enter has given the token for, the zero value if it has left.
func (l *Loop[M]) Find(token poller.Token) M { return l.table.find(token) }

// Each calls look for the members in so many places of the table from one on, and
// returns where to go on; more: there is something to go on with.
func (l *Loop[M]) Each(from, places int, look func(m M, since Tick, token poller.Token)) (next int, more bool) {
	return l.table.each(from, places, look)
}

// StopSeen says whether the loop drains (Draining) or stops (Stopped).
func (l *Loop[M]) StopSeen() Reason { return l.stopSeen }

// Watch watches a source's descriptor.
func (l *Loop[M]) Watch(fd int, s Source) error {
	token := sourceToken | poller.Token(fd)
	if err := l.poll.Add(fd, token); err != nil {
		return err
	}
	l.sources = append(l.sources, &source{Source: s, token: token, retry: NoDue})
	return nil
}

// Retry has the source look at the given tick, at the latest.
func (l *Loop[M]) Retry(s Source, at Tick) {
	for _, known := range l.sources {
		if known.Source == s {
			known.retry = at
			l.nextDue = min(l.nextDue, at)
		}
	}
}

// Unwatch forgets a source; its descriptor stays open.
func (l *Loop[M]) Unwatch(fd int, s Source) error {
	l.sources = slices.DeleteFunc(slices.Clone(l.sources), func(known *source) bool { return known.Source == s })
	return l.poll.Remove(fd)
}
