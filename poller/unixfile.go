package poller

import "io/fs"

// UnixEngine is an [Engine] that can say who may connect to a Unix socket.
type UnixEngine interface {
	Engine
	// ListenUnix is Listen("unix", path) with the permissions of the socket's file:
	// who may write to it may connect. They are in place before anybody can. 0 leaves
	// them to the process's umask. A path that begins with @ is an abstract socket of
	// Linux, which has no file: its mode must be 0.
	//
	// A socket at path on which nobody listens is replaced, as one that a crash has
	// left. One that is listened on, and a file that is no socket, stay:
	// EADDRINUSE (wrapped). Close removes the file, unless another has taken its
	// place meanwhile.
	ListenUnix(path string, mode fs.FileMode) (Listener, error)
}
