// Package simnet is a network in memory with a kernel that follows a script.
//
// A [Network] is a [poller.Engine], and a [poller.Dialer] too: a server or a
// client that knows the kernel only through package poller runs on it
// unchanged. Tests get from it what a real kernel gives only by luck: short
// reads and writes, ErrAgain at every offset, resets, spurious and stale events,
// full tables ([Script], [Config]), and a clock that moves only when told
// ([Network.Advance]). Benchmarks get millions of connections without
// descriptors.
//
// # What it models
//
// A connection is two directions of bytes with a window each. A writer gets as
// much as the window holds taken, then ErrAgain, and an edge once the reader
// read. Where real kernels differ, simnet does the worst of what they do, so
// that a server that is right here is right there:
//
//   - An end that closes with bytes unread resets the connection, and so does
//     one that is written to after it closed.
//   - A reset drops all bytes on the way, in both directions. As on Linux, the
//     first read or write after it fails with ECONNRESET; then reads answer the
//     end of the stream and writes EPIPE. An end that had read the peer's end of
//     stream before hears no ECONNRESET.
//   - Descriptor numbers are reused at once, lowest first.
//   - Edges come once, merged, and only for what changed.
//
// The package also holds callers to the contract of package poller: a
// descriptor used or closed after its closing, added twice, or closed while it
// is in a poller is noted in [Network.Violations].
//
// # Concurrency and cost
//
// All functions and methods may be used from any goroutine. Each connection
// has its own lock, so that loops and clients work in parallel. The locks are
// taken in this order: the list of listeners, listener, connection, poller or
// descriptor table; and for WaitIdle: its own, the list of pollers, pollers.
//
// An idle connection costs less than 100 bytes, both ends and the descriptor
// included; buffers come from pools while bytes are on the way. Reading,
// writing and waiting allocate nothing in steady state.
package simnet
