package simnet

import (
	"sync/atomic"

	"github.com/millrace/millrace/poller"
)

// Op is the kind of a call that a script judges.
type Op uint8

const (
	// OpRead is Engine.Read on a connection that has something to read.
	OpRead Op = iota
	// OpWrite is Engine.Write or Writev on a connection that takes bytes.
	OpWrite
	// OpAdd is Poller.Add of a connection.
	OpAdd
	// OpAccept is Listener.Accept with a connection in the queue.
	OpAccept
	opCount
)

// Call is a call of the server that would succeed without a script.
type Call struct {
	Op     Op
	FD     int   // the descriptor; for OpAccept, the listener's
	Number int   // Conn.Number; for OpAccept, of the first in the queue
	Seq    int   // how many calls of this Op on this descriptor were judged before
	Offset int64 // OpRead and OpWrite: how many bytes were read or written before
	Len    int   // OpRead and OpWrite: how many bytes it is for
}

// Verdict is what becomes of a call. The zero value lets it pass.
type Verdict struct {
	// Limit is how many bytes a read or a write moves at most; 0: no limit. An
	// edge follows, as if the rest had become possible just then.
	Limit int
	// Again answers poller.ErrAgain, and the edge follows.
	Again bool
	// Err is the answer: a syscall.Errno (of which ENOSPC and the like answer
	// poller.ErrExhausted, wrapped) or any other error. No edge follows.
	Err error
	// Reset resets the connection first (OpRead and OpWrite).
	Reset bool
}

func (v Verdict) passes() bool { return v.Limit <= 0 && !v.Again && v.Err == nil && !v.Reset }

// Script says what becomes of each call. It is called from any goroutine, under
// the lock of what it judges: it must not call into the network, and two
// connections may ask at once. The same answers to the same calls make a test
// deterministic, so prefer scripts without state.
type Script func(Call) Verdict

// OneByte moves one byte with each read and write, and answers ErrAgain before
// each of them: a short write and an ErrAgain at every offset.
func OneByte(call Call) Verdict {
	switch {
	case call.Op != OpRead && call.Op != OpWrite:
		return Verdict{}
	case call.Seq%2 == 0:
		return Verdict{Again: true}
	default:
		return Verdict{Limit: 1}
	}
}

// Chop cuts reads and writes short at random and answers ErrAgain at random,
// to Accept as well. The same seed gives the same answers to the same calls.
func Chop(seed uint64) Script {
	return func(call Call) Verdict {
		r := mix(seed ^ mix(uint64(call.Op)<<56^uint64(call.Number)<<24^uint64(call.Seq)))
		switch {
		case call.Op == OpAdd:
			return Verdict{}
		case r%4 == 0:
			return Verdict{Again: true}
		case r%4 == 1:
			return Verdict{Limit: int(r>>8%1024) + 1}
		case r%4 == 2:
			return Verdict{Limit: int(r>>8%8) + 1}
		default:
			return Verdict{}
		}
	}
}

// mix is the finalizer of SplitMix64: every bit of x changes half of the bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Fail answers err to the first calls of the kind op, that many in all: ENOSPC
// to Add, poller.ErrExhausted to Accept.
func Fail(op Op, times int, err error) Script {
	var failed atomic.Int64
	return func(call Call) Verdict {
		if call.Op == op && failed.Add(1) <= int64(times) {
			return Verdict{Err: err}
		}
		return Verdict{}
	}
}

// ResetAt resets a connection once exactly that many bytes were read (OpRead)
// or written (OpWrite).
func ResetAt(op Op, offset int64) Script {
	return func(call Call) Verdict {
		switch {
		case call.Op != op:
			return Verdict{}
		case call.Offset >= offset:
			return Verdict{Reset: true}
		default:
			return Verdict{Limit: int(offset - call.Offset)}
		}
	}
}

// First returns the first verdict of the scripts that does not let a call pass.
func First(scripts ...Script) Script {
	return func(call Call) Verdict {
		for _, script := range scripts {
			if v := script(call); !v.passes() {
				return v
			}
		}
		return Verdict{}
	}
}

// scriptState is a connection's script and what was judged so far.
type scriptState struct {
	script Script
	calls  [opCount]struct {
		seq    [2]int
		offset [2]int64
	}
}

// Script sets the script of a connection in place of [Config].Script; nil lets
// all pass. Offsets and Seq count from the first script the connection had.
func (c *Conn) Script(script Script) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.more().script.script = script
}

func (c *Conn) scripted() bool { return c.extra != nil && c.extra.script.script != nil }

// judge asks the script about a read or a write of length bytes, and returns
// how many it may move, or the answer. c.mu is held.
func (c *Conn) judge(op Op, s side, length int) (limit int, err error) {
	calls := &c.extra.script.calls[op]
	verdict := c.extra.script.script(Call{
		Op: op, FD: int(c.fd[s]), Number: c.Number(),
		Seq: calls.seq[s], Offset: calls.offset[s], Len: length,
	})
	calls.seq[s]++
	switch {
	case verdict.Err != nil:
		return 0, verdict.Err
	case verdict.Again:
		c.announce(s, c.readiness(s))
		return 0, poller.ErrAgain
	case verdict.Reset && !c.reset:
		c.abort()
	}
	if verdict.Limit <= 0 {
		return length, nil
	}
	return min(length, verdict.Limit), nil
}

// judgeAdd asks the script about an Add. c.mu is held.
func (c *Conn) judgeAdd(s side) error {
	if !c.scripted() {
		return nil
	}
	_, err := c.judge(OpAdd, s, 0)
	return err
}
