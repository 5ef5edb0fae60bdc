package loop

import "github.com/millrace/millrace/poller"

// Reason says why a member gets a turn; several may come together.
type Reason uint8

// The reasons. The first three are the poller's.
const (
	Readable = Reason(poller.Readable)
	Writable = Reason(poller.Writable)
	Hangup   = Reason(poller.Hangup)

	Woken    Reason = 1 << 3 // another goroutine changed something: look
	Expired  Reason = 1 << 4 // its deadline is over
	Draining Reason = 1 << 5 // the loop drains: end politely
	Stopped  Reason = 1 << 6 // the loop stops now
	Flushed  Reason = 1 << 7 // MissedWhileAway has done it while its slow turn went on
)

// Member is what a loop gives turns to: a pointer to a struct that has a Seat.
// No two turns of one member run at once, and what one turn has written the next
// one sees.
type Member interface {
	comparable
	// Seat is the member's place in the loop, always the same.
	Seat() *Seat
	// Turn is one turn on w. It may be slow: then the loop goes on without the
	// member. A panic or runtime.Goexit in it is the end of the turn: see Failed. There
	// may be no reason: behind a turn that was slow, or has failed.
	Turn(w *Worker, why Reason)
	// Failed is called in the turn that has panicked, or called runtime.Goexit
	// (panicked is nil then). Another Turn follows at once, without a reason.
	Failed(w *Worker, panicked any)
	// LostLoop is called while the member's turn goes on but has lost the loop:
	// what waits for the turn's end must wait no longer. It must not block.
	LostLoop()
	// MissedWhileAway is called by the leader, while the member's slow turn goes on without
	// the loop, for each reason that it misses. It may do what needs no turn; the
	// reasons that it returns are missed as well. Hangup is only what the poller told.
	MissedWhileAway(why Reason) Reason
	// Drains is called by the leader just before a turn to drain in.
	Drains()
	// NextDue is the member's next deadline. The leader asks after a turn in which
	// Seat.SetDue was called.
	NextDue() Tick
	// Left is called by the leader when the member, which has called Seat.Leave in
	// its turn, is about to lose its place in the loop. It has had its last turn.
	Left()
}

// Seat is a member's place in its loop, and what its turns leave to the leader. It
// has 8 bytes.
type Seat struct {
	slot   uint32 // the leader's: in the table
	next   Reason // the turn's: reasons for another turn, and the two marks
	away   bool   // the leader's: in a slow turn, which has lost the loop
	missed Reason // the leader's: why it should have had a turn meanwhile
	posted bool   // guarded by Loop.mu: it is in the inbox because it was woken
}

// Marks among the reasons in Seat.next, of those that no turn may ask for.
const (
	markDue    = Expired
	markLeft   = Stopped
	markHungUp = Flushed
	marks      = markDue | markLeft | markHungUp
)

// Seat implements Member for a type that embeds it.
func (s *Seat) Seat() *Seat { return s }

// Slot is a number that no other member of the loop has at the time.
func (s *Seat) Slot() uint32 { return s.slot }

// Again asks, in a turn, for another one in the next round, after those of others,
// because of Readable, Hangup or Draining.
func (s *Seat) Again(why Reason) { s.next |= why &^ marks }

// AsksAgain says for what another turn was asked for so far.
func (s *Seat) AsksAgain() Reason { return s.next &^ marks }

// SetDue has the leader ask for the member's deadline after the turn.
func (s *Seat) DueChanged() { s.next |= markDue }

// Leave says, in a turn, that it is the member's last.
func (s *Seat) Leave() { s.next |= markLeft }

// HungUp says, in a turn, whether the poller itself has reported a hangup: Hangup among
// the reasons may also be what the last turn has asked for.
func (s *Seat) HungUp() bool { return s.next&markHungUp != 0 }

// Away says whether the member is in a slow turn without the loop. The leader asks.
func (s *Seat) Away() bool { return s.away }

func (s *Seat) left() bool { return s.next&markLeft != 0 }

// Source is something else than a member that the loop's poller watches: a
// listener.
type Source interface {
	// Ready is called by the leader when the source's descriptor is ready, or when
	// the time is over that Loop.Retry has set. It must be short.
	Ready()
}

// Task is a piece of work for the leader.
type Task interface {
	// Do is called by the leader, between turns. It must be short. again: once more
	// in the next round.
	Do() (again bool)
}

// TaskFunc is a function as a Task.
type TaskFunc func() (again bool)

// Do implements Task.
func (f TaskFunc) Do() (again bool) { return f() }

// Host is whose loop it is. Its methods are called by the leader, between turns.
type Host interface {
	// Round is called in each round.
	Round()
	// Stopping is called when the loop begins to drain, and when it stops.
	Stopping(why Reason)
	// Ended is called when the loop is over: it leads, and calls, nobody any more.
	Ended()
}
