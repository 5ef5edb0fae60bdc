//go:build !(linux || darwin || dragonfly || freebsd)

package poller

import "net"

// Inherit is not supported on this system.
func Inherit(int) (net.Listener, error) { return nil, unsupportedOS() }
