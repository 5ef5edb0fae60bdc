// Package loop decides who runs when. It gives the members of an event loop their
// turns, one at a time, on a goroutine that leads the loop, and when a turn is
// slow it lets another goroutine lead. It knows no protocol: what a member does in
// its turn is the member's.
//
// A [Loop] has a poller, a table of members with their deadlines, and an inbox. Its
// leader goes round and round: events first, then jobs (members that have more to
// do, the inbox, deadlines that are over, tasks), then the next wait. A [Group] has
// the loops of a server, the workers that lead them, and the watchdog that takes a
// loop out of a slow turn: see handover.go for the proof that no two workers ever
// lead one loop, nor two turns of one member run at once.
//
// # Who may touch what
//
//   - The leader: events, jobs, table, sources, the pace of a drain; Seat.slot, away
//     and missed. Methods that say "leader" are to be called from a Task, a Source,
//     the Host, or those of a Member's methods that say so.
//   - The worker whose turn it is: Seat.next.
//   - Loop.mu: the inbox, Seat.posted. It is taken for a few instructions and
//     nothing of the host's is called under it.
package loop
