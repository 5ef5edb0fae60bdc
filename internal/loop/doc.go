// Package loop runs event loops. It gives each member of a loop its turns, one at a
// time, and takes the loop out of a turn that is slow. It knows no protocol: a member
// decides what it does in its turn.
//
// To use it, write a [Member] (a struct with a [Seat]), a [Host] for what belongs to a
// loop as a whole, and a function that makes a [Worker]. Then
//
//	group := loop.NewGroup(loop.Config{...})
//	l.Init(group, host, poller)          // each Loop
//	group.Start()                        // the loops run
//	err := poller.Add(fd, l.Enter(m))    // by the leader: m gets turns from now on
//	l.Post(m, loop.Woken)                // from any goroutine: m gets a turn soon
//
// The goroutine that leads a [Loop] goes round and round: events first, then jobs
// (members that asked for another turn, the inbox, deadlines, tasks), then the next
// wait. A [Group] has the loops of a server, the workers that lead them, and a watchdog,
// which gives the loop to another worker when a turn is slow. A member never has two
// turns at once.
//
// Methods that say "leader" may be called from a [Task], a [Source], the [Host], and
// those methods of a Member that say so.
package loop

// Who may touch what:
//
//   - The leader: events, jobs, table, sources, the pace of a drain; Seat.slot, away
//     and missed.
//   - The worker whose turn it is: Seat.next.
//   - Loop.mu: the inbox, Seat.posted. It is taken for a few instructions and
//     nothing of the host's is called under it.
//
// handover.go has the proof that no two workers ever lead one loop, and that no two
// turns of one member run at once.
