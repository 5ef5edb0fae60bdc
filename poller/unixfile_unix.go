//go:build linux || darwin || dragonfly || freebsd

package poller

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// longestBacklog is more than any system allows, which takes its own most then.
	longestBacklog = 1<<16 - 1
	// folderPatience is how long a process waits for others that bind or remove
	// a socket in the same folder.
	folderPatience = time.Second
)

// ListenUnix implements [UnixEngine].
func (sockets) ListenUnix(path string, mode fs.FileMode) (Listener, error) {
	fd, file, err := bindUnix(path, mode)
	if err != nil {
		return nil, fmt.Errorf("poller: %w", exhaustedError(err))
	}
	return &socketListener{addr: &net.UnixAddr{Net: "unix", Name: path}, file: file, fd: fd}, nil
}

// ListenUnix is [UnixEngine]'s method as a listener of Go's net package, for what has
// to be served without a poller. Its Close removes the file on the same terms.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	fd, file, err := bindUnix(path, mode)
	if err != nil {
		return nil, fmt.Errorf("poller: %w", exhaustedError(err))
	}
	copied := os.NewFile(uintptr(fd), path)
	defer copied.Close() // FileListener has a copy of its own
	ln, err := net.FileListener(copied)
	if err != nil {
		file.remove()
		return nil, fmt.Errorf("poller: %w", exhaustedError(err))
	}
	return &unixListener{Listener: ln, file: file}, nil
}

// unixListener is net's, whose file it removes.
type unixListener struct {
	net.Listener
	file *socketFile
	once sync.Once
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	l.once.Do(l.file.remove)
	return l.Listener.Close()
}

// bindUnix gives a socket that listens at path. Nobody can connect before the file
// has its mode: bind makes the file, but a socket is not connected to before listen.
func bindUnix(path string, mode fs.FileMode) (fd int, file *socketFile, err error) {
	failed := func(err error) (int, *socketFile, error) {
		return -1, nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Net: "unix", Name: path}, Err: err}
	}
	if path == "" {
		return failed(os.NewSyscallError("bind", unix.EINVAL))
	}
	abstract := path[0] == '@'
	if abstract && mode != 0 {
		return failed(fmt.Errorf("an abstract socket has no file, and so no mode %#o: anybody may connect", mode))
	}
	if fd, err = openStream(unix.AF_UNIX, 0); err != nil {
		return failed(os.NewSyscallError("socket", err))
	}
	bind := func() error {
		if abstract {
			return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
		}
		file, err = bindFile(fd, path, mode)
		return err
	}
	err = inFolder(path, abstract, func() error {
		err := bind()
		if err == nil {
			err = os.NewSyscallError("listen", unix.Listen(fd, longestBacklog))
		}
		if err != nil && file != nil {
			file.removeLocked()
		}
		return err
	})
	if err != nil {
		_ = unix.Close(fd)
		return failed(err)
	}
	return fd, file, nil
}

// bindFile binds fd to path. It takes the place of a socket on which nobody listens,
// as one that a crash has left, and of nothing else.
func bindFile(fd int, path string, mode fs.FileMode) (*socketFile, error) {
	address := &unix.SockaddrUnix{Name: path}
	err := unix.Bind(fd, address)
	if err == unix.EADDRINUSE {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		err = unix.Bind(fd, address)
	}
	if err == unix.EINVAL {
		return nil, fmt.Errorf("a path of %d bytes is too long for a socket: %w", len(path), os.NewSyscallError("bind", err))
	} else if err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	file := &socketFile{path: path, info: info}
	if mode != 0 {
		if err := os.Chmod(path, mode.Perm()); err != nil {
			file.removeLocked()
			return nil, err
		}
	}
	return file, nil
}

// removeStale removes a socket on which nobody listens. The error wraps EADDRINUSE
// if the file has to stay.
func removeStale(path string) error {
	inUse := os.NewSyscallError("bind", unix.EADDRINUSE)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone meanwhile
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("the file is no socket, and stays: %w", inUse)
	}
	probe, err := openStream(unix.AF_UNIX, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	err = unix.Connect(probe, &unix.SockaddrUnix{Name: path})
	_ = unix.Close(probe)
	if err != unix.ECONNREFUSED {
		return inUse // somebody listens, if maybe not to us
	}
	return os.Remove(path)
}

// socketFile is the file of a listening socket.
type socketFile struct {
	path string
	info fs.FileInfo // as bound
}

// remove removes the file unless another has taken its place. While the socket is
// open no other file can have its number.
func (f *socketFile) remove() {
	if f == nil {
		return
	}
	_ = inFolder(f.path, false, func() error {
		f.removeLocked()
		return nil
	})
}

// removeLocked is remove. The caller has the folder to itself.
func (f *socketFile) removeLocked() {
	if info, err := os.Lstat(f.path); err == nil && os.SameFile(info, f.info) {
		_ = os.Remove(f.path) // somebody else may have, which is fine
	}
}

// inFolder has f run while no other process binds or removes a socket beside path, so
// that none is taken for stale that is just being made. Who may not read the folder,
// or finds it held for too long by something else, goes on without.
func inFolder(path string, abstract bool, f func() error) error {
	if abstract {
		return f()
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return f() // which finds out if there is no folder
	}
	defer folder.Close()
	const pause = 5 * time.Millisecond
	for range folderPatience / pause {
		if unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB) != unix.EWOULDBLOCK {
			break
		}
		time.Sleep(pause)
	}
	return f()
}
