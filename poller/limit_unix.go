//go:build linux || darwin || dragonfly || freebsd

package poller

import "golang.org/x/sys/unix"

// RaiseDescriptorLimit sets how many descriptors this process may have open
// (the soft RLIMIT_NOFILE) to the most it may set itself (the hard one) and
// returns both as they stand afterwards. Child processes have the raised limit
// too. Go does the same when it starts, but says nothing when it can't. On an
// error the limits are returned as they were left.
func RaiseDescriptorLimit() (soft, hard uint64, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0, systemError("getrlimit", err)
	}
	raised := limit
	raised.Cur = raised.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return uint64(limit.Cur), uint64(limit.Max), systemError("setrlimit", err)
	}
	return uint64(raised.Cur), uint64(raised.Max), nil
}
