package simnet

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/poller"
)

// defaultWindow is the size of a direction's window in bytes.
const defaultWindow = 64 << 10

// Config says what a network is like. The zero value works: no limits, no
// faults, windows of 64 KiB, and a clock that stands still.
type Config struct {
	// MaxFDs is how many descriptors may be open at once, listeners included;
	// then Accept, Listen, Connect and Attach fail with poller.ErrExhausted. 0:
	// no limit.
	MaxFDs int
	// Backlog is how many connections may wait for Accept; then Dial fails with
	// ECONNREFUSED. 0: no limit.
	Backlog int
	// RecvBuffer is how many bytes may wait for the server on a connection,
	// SendBuffer how many may wait for the client. 0: 64 KiB.
	RecvBuffer int
	SendBuffer int
	// Preallocate makes room in the descriptor table for that many descriptors
	// at once, so that a benchmark sees only the server's memory grow.
	Preallocate int
	// RealClock makes Now and the timeouts of Wait follow the real time;
	// Advance then panics.
	RealClock bool
	// StaleEvents makes each descriptor that leaves a poller leave an event
	// with its old token behind, as the contract allows.
	StaleEvents bool
	// AckOnRead makes bytes count as acknowledged only when the other end reads
	// them, as over a slow link that holds none: the reader is the link's pace.
	// Otherwise they count as soon as they are sent. [Conn.AckOnRead] chooses for
	// one connection, [Network.Unacked] tells.
	AckOnRead bool
	// Script judges the calls on all connections that have none of their own.
	Script Script
}

// Network is a network in memory and the machine the server runs on.
type Network struct {
	config Config
	window [2]int // by the side that reads
	table  table
	start  time.Time    // what the real clock counts from
	clock  atomic.Int64 // the simulated clock, in nanoseconds
	dialed atomic.Uint32

	mu        sync.Mutex // guards the listeners
	listeners map[address]*Listener
	byFD      map[int]*Listener
	lastPort  uint16

	pollersMu sync.Mutex // guards pollers; taken before the lock of each
	pollers   []*Poller

	idleWaiters atomic.Int32
	idleMu      sync.Mutex
	idleChanged sync.Cond

	violations violations
}

var (
	_ poller.Dialer = (*Network)(nil)
	_ poller.Gauge  = (*Network)(nil)
	_ poller.Namer  = (*Network)(nil)
)

// New returns a network with nothing in it. It needs no closing.
func New(config Config) *Network {
	n := &Network{
		config:    config,
		window:    [2]int{client: orDefault(config.SendBuffer), server: orDefault(config.RecvBuffer)},
		start:     time.Now(),
		listeners: make(map[address]*Listener),
		byFD:      make(map[int]*Listener),
		lastPort:  firstFreePort - 1,
	}
	n.idleChanged.L = &n.idleMu
	n.table.init(config.MaxFDs, config.Preallocate)
	return n
}

func orDefault(window int) int {
	if window <= 0 {
		return defaultWindow
	}
	return window
}

// Name returns "simnet".
func (n *Network) Name() string { return "simnet" }

// Now returns the simulated time, which starts at 0, or with
// [Config].RealClock the time since New.
func (n *Network) Now() time.Duration {
	if n.config.RealClock {
		return time.Since(n.start)
	}
	return time.Duration(n.clock.Load())
}

// Advance moves the simulated clock and ends each Wait whose timeout is over.
// It does not wait for what that sets off; see [Network.WaitIdle].
func (n *Network) Advance(d time.Duration) {
	if n.config.RealClock || d < 0 {
		panic("simnet: Advance of a real clock, or backwards")
	}
	n.clock.Add(int64(d))
	n.pollersMu.Lock()
	defer n.pollersMu.Unlock()
	for _, p := range n.pollers {
		p.clockMoved()
	}
}

// OpenFDs returns how many descriptors are open: listeners, accepted
// connections, those of [Network.Connect] and [Network.Attach], and those that
// were detached and not yet closed.
func (n *Network) OpenFDs() int { return n.table.openCount() }

// forget takes a poller out of the network.
func (n *Network) forget(p *Poller) {
	n.pollersMu.Lock()
	defer n.pollersMu.Unlock()
	i := slices.Index(n.pollers, p)
	n.pollers = slices.Delete(n.pollers, i, i+1)
}

// Idle reports whether each poller is in Wait with no event, wake or timeout
// due: the server has handled all there is, but for what runs outside its
// loops (a blocked handler, a real timer).
func (n *Network) Idle() bool {
	n.pollersMu.Lock()
	defer n.pollersMu.Unlock()
	// All are locked at once: one that was idle may get an event from the next.
	idle := true
	for _, p := range n.pollers {
		p.mu.Lock()
		idle = idle && p.idle()
	}
	for _, p := range n.pollers {
		p.mu.Unlock()
	}
	return idle
}

// WaitIdle blocks until the network is [Network.Idle], and reports whether it
// came to that within the timeout, which is in real time.
func (n *Network) WaitIdle(timeout time.Duration) bool {
	n.idleWaiters.Add(1)
	defer n.idleWaiters.Add(-1)
	deadline := time.Now().Add(timeout)
	timer := time.AfterFunc(timeout, n.idleBroadcast)
	defer timer.Stop()

	n.idleMu.Lock()
	defer n.idleMu.Unlock()
	for !n.Idle() {
		if !time.Now().Before(deadline) {
			return false
		}
		n.idleChanged.Wait()
	}
	return true
}

// maybeIdle tells WaitIdle that a poller went to sleep.
func (n *Network) maybeIdle() {
	if n.idleWaiters.Load() > 0 {
		n.idleBroadcast()
	}
}

// idleBroadcast holds the lock so that it can't fall between a WaitIdle's look
// and its sleep.
func (n *Network) idleBroadcast() {
	n.idleMu.Lock()
	defer n.idleMu.Unlock()
	n.idleChanged.Broadcast()
}
