package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/poller"
)

// unixPrefix begins an address that is a path.
const unixPrefix = "unix:"

// endpoint is where to listen: host:port with a number for the port, unix:path, or fd:N.
func endpoint(to *string) flags.Setter {
	set := address(to)
	return func(text string) error {
		if path, ok := strings.CutPrefix(text, unixPrefix); ok {
			if path == "" || path[0] == '@' || strings.IndexByte(path, 0) >= 0 {
				return errors.New("unix:PATH such as unix:/run/millrace.sock")
			}
			*to = text
			return nil
		}
		if number, ok := strings.CutPrefix(text, fdPrefix); ok {
			if n, err := strconv.ParseUint(number, 10, 31); err != nil || n < firstFD {
				return fmt.Errorf("fd:N such as fd:3, with a number from %d", firstFD)
			}
			*to = text
			return nil
		}
		if err := set(text); err != nil {
			return fmt.Errorf("%w, unix:PATH such as unix:/run/millrace.sock, or fd:3, a socket that the process is given", err)
		}
		return nil
	}
}

// permissions are a file's.
func permissions(to *fs.FileMode) flags.Setter {
	return func(text string) error {
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode == 0 || mode > 0o777 {
			return errors.New("permissions in octal such as 0660, from 0001 to 0777")
		}
		*to = fs.FileMode(mode)
		return nil
	}
}

// sameAddress tells whether two endpoints can't both be listened on, as far as their
// texts show it: they are one, or one is all addresses of the machine.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(strings.Replace(a, "localhost:", "127.0.0.1:", 1))
	hostB, portB, errB := net.SplitHostPort(strings.Replace(b, "localhost:", "127.0.0.1:", 1))
	if strings.HasPrefix(a, unixPrefix) || strings.HasPrefix(a, fdPrefix) || strings.HasPrefix(b, fdPrefix) || errA != nil || errB != nil {
		return a == b
	}
	all := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return portA == portB && portA != "0" && (hostA == hostB || all(hostA) || all(hostB))
}

// network is that of an address, and the address in it.
func network(endpoint string) (name, addr string) {
	if path, ok := strings.CutPrefix(endpoint, unixPrefix); ok {
		return "unix", path
	}
	return "tcp", endpoint
}

// listenOn opens a listener of net's.
func listenOn(endpoint string, mode fs.FileMode) (net.Listener, error) {
	if strings.HasPrefix(endpoint, fdPrefix) {
		return inherit(endpoint)
	}
	network, addr := network(endpoint)
	if network == "unix" {
		return poller.ListenUnix(addr, mode)
	}
	return net.Listen(network, addr)
}

// urlOf is how a listener's address is shown: with the scheme, or unix:path.
func urlOf(scheme string, addr net.Addr) string {
	if addr.Network() == "unix" {
		return unixPrefix + addr.String()
	}
	return scheme + "://" + addr.String()
}

// unixError puts the usual reasons why there is no Unix socket into plain words.
func unixError(option, endpoint string, err error) error {
	_, path := network(endpoint)
	info, statErr := os.Lstat(path)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && statErr == nil && info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s %s: the file there is no socket, and is left alone: choose another path", option, endpoint)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: another process listens there: stop it or choose another path", option, endpoint)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s %s: no permission to make the socket's file there", option, endpoint)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %s: there is no such folder", option, endpoint)
	}
	return fmt.Errorf("%s %s: %w", option, endpoint, err)
}
