package poller

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// # Waiting while there is little to do
//
// A goroutine that blocks in a system call keeps its P until sysmon, the thread of Go's
// runtime that watches over such calls, takes it away. For that sysmon wakes up a dozen times
// and more, each time anew. That costs a loop which waits a hundred times a second more
// than its work. So while it is calm, Wait parks the goroutine in Go's own poller, which
// watches the epoll descriptor. On a busy loop the detour would cost more, and each event
// would wake a thread of Go's: there Wait blocks in the call, and Go's poller does not watch.

const (
	// countedAtLeast is after how many calls of Wait, and events, a poller finds out how
	// calm it is.
	countedAtLeast = 64
	// With fewer of them a second than the first it is calm from there on, until there are
	// more than the second.
	calmBelow, calmUntil = 8000, 16_000
)

// parking is how a poller waits in Go's own. It belongs to the one that waits.
type parking struct {
	epfd    int
	busy    bool
	counted int       // calls and events, since the count began
	since   time.Time // when it began

	// A duplicate of the epoll descriptor is the file while Go's poller watches, and
	// else spare: how many descriptors a poller has does not depend on how busy it is. It is
	// given up, and spare is -1, if Go's poller can not watch it: then Wait always blocks.
	spare    int
	file     *os.File // nil: Go's poller does not watch
	conn     syscall.RawConn
	deadline time.Time // the file's; zero: none

	look  func(fd uintptr) (done bool)
	ready []unix.EpollEvent // look's
	n     int               // its results
	errno syscall.Errno
}

// open makes the duplicate.
func (k *parking) open(epfd int) (err error) {
	k.epfd = epfd
	k.look = func(uintptr) bool {
		k.n, k.errno = look(k.epfd, k.ready)
		return k.n > 0 || k.errno != 0
	}
	k.spare, err = duplicate(epfd)
	return err
}

func duplicate(fd int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// close frees the duplicate.
func (k *parking) close() {
	if k.file != nil {
		_ = k.file.Close() // it only frees the descriptor
	} else if k.spare >= 0 {
		unix.Close(k.spare)
	}
}

// count counts a call of Wait with its events.
func (k *parking) count(events int) {
	if k.counted += 1 + events; k.counted < countedAtLeast {
		return
	}
	now := time.Now()
	took := now.Sub(k.since)
	all := time.Duration(k.counted) * time.Second
	k.counted, k.since = 0, now
	switch {
	case took < all/calmUntil:
		k.busy = true
		k.unwatch()
	case took > all/calmBelow:
		k.busy = false
	}
}

// calm says whether Wait is to park.
func (k *parking) calm() bool { return k.file != nil || !k.busy && k.spare >= 0 && k.watch() }

// watch has Go's poller watch. false: it can not.
func (k *parking) watch() bool {
	err := unix.SetNonblock(k.spare, true) // what os takes for a file to be watched
	if err == nil {
		k.file = os.NewFile(uintptr(k.spare), "epoll")
		if k.conn, err = k.file.SyscallConn(); err == nil {
			err = k.file.SetReadDeadline(time.Time{}) // it has none if it is not watched: the kernel had no room
		}
	}
	if err != nil {
		k.close()
		k.spare, k.file, k.conn = -1, nil, nil
	}
	return err == nil
}

// unwatch has Go's poller no longer watch, if there is a descriptor for the spare.
func (k *parking) unwatch() {
	if k.file == nil {
		return
	}
	spare, err := duplicate(k.epfd)
	if err != nil {
		return
	}
	_ = k.file.Close() // it only frees the descriptor
	k.spare, k.file, k.conn, k.deadline = spare, nil, nil, time.Time{}
}

// wait parks until there are events or the timeout is over; below 0 is none. It may end
// before.
func (k *parking) wait(ready []unix.EpollEvent, timeout time.Duration) (int, syscall.Errno) {
	if timeout > 0 {
		// An earlier deadline stays, also where there is none now: most waits end before it.
		if until := time.Now().Add(timeout); k.deadline.IsZero() || until.Before(k.deadline) {
			k.setDeadline(until)
		}
	}
	k.ready = ready
	if err := k.conn.Read(k.look); err != nil {
		k.setDeadline(time.Time{}) // it is over
		return 0, 0
	}
	return k.n, k.errno
}

func (k *parking) setDeadline(t time.Time) {
	_ = k.file.SetReadDeadline(t) // it is open, and has deadlines
	k.deadline = t
}
