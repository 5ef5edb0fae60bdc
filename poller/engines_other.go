//go:build !(linux || darwin || dragonfly || freebsd)

package poller

// engines is empty: easygo's kqueue does not compile on the other BSDs, and
// the rest has neither epoll nor kqueue.
var engines []Engine

// RaiseDescriptorLimit is not supported on this system.
func RaiseDescriptorLimit() (soft, hard uint64, err error) {
	return 0, 0, unsupportedOS()
}
