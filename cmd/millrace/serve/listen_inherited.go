package serve

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// A process may be given a socket that listens already, by systemd for one: the socket
// stays, and who connects waits in it, while the process is started anew.

const (
	fdPrefix = "fd:" // begins an address that is a descriptor
	firstFD  = 3     // behind stdin, stdout and stderr
)

// inherit is the listener that fd:N is.
func inherit(endpoint string) (net.Listener, error) {
	number, err := strconv.Atoi(strings.TrimPrefix(endpoint, fdPrefix))
	if err != nil {
		return nil, err
	}
	return poller.Inherit(number)
}

// open opens what --listen says. serve has it served until the server stops.
func (c *config) open(srv *server.Server) (addr net.Addr, serve func() error, err error) {
	if strings.HasPrefix(c.listen.address, fdPrefix) {
		ln, err := inherit(c.listen.address)
		if err != nil {
			return nil, nil, err
		}
		return ln.Addr(), func() error { return c.tls.serveInherited(srv, ln) }, nil
	}
	ln, err := srv.Listen(network(c.listen.address))
	if err != nil {
		return nil, nil, err
	}
	return ln.Addr(), func() error { return c.tls.serve(srv, ln) }, nil
}

// fdError puts the usual reasons why a descriptor does not do into plain words.
func fdError(option, endpoint string, err error) error {
	const remedy = "the process has to be given a socket that listens, as by a socket unit of systemd"
	switch {
	case errors.Is(err, syscall.EBADF):
		return fmt.Errorf("%s %s: there is no such descriptor: %s", option, endpoint, remedy)
	case errors.Is(err, syscall.ENOTSOCK):
		return fmt.Errorf("%s %s: it is no socket: %s", option, endpoint, remedy)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%s %s: the socket does not listen: %s", option, endpoint, remedy)
	}
	return fmt.Errorf("%s %s: %w", option, endpoint, err)
}
