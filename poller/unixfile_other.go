//go:build !(linux || darwin || dragonfly || freebsd)

package poller

import (
	"io/fs"
	"net"
)

// ListenUnix is not supported on this system.
func ListenUnix(string, fs.FileMode) (net.Listener, error) { return nil, unsupportedOS() }
