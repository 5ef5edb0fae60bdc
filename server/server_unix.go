package server

import (
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/millrace/millrace/poller"
)

// # Unix sockets
//
// A peer on a Unix socket has no address. Who may connect, the socket's file says;
// whether such a peer may speak for others, Server.Proxy.TrustUnix; and where its name is
// shown it is "unix".

const (
	unixPrefix = "unix:" // begins an address that is a path
	// defaultSocketMode lets in the owner and its group: a balancer beside us.
	defaultSocketMode fs.FileMode = 0o660
)

// listenAt listens on Addr, or another in its form.
func (s *Server) listenAt(addr string) (poller.Listener, error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return s.listen("unix", path)
	}
	return s.listen("tcp", addr)
}

// listen opens a listener of the engine; s has started.
func (s *Server) listen(network, addr string) (poller.Listener, error) {
	engine, ok := s.engine.(poller.UnixEngine)
	if network != "unix" || !ok || strings.HasPrefix(addr, "@") {
		return s.engine.Listen(network, addr)
	}
	mode := s.Runtime.SocketMode
	if mode == 0 {
		mode = defaultSocketMode
	}
	return engine.ListenUnix(addr, mode)
}

func isUnix(addr net.Addr) bool { return addr != nil && strings.HasPrefix(addr.Network(), "unix") }

// onUnix says whether a request that net/http has came over a Unix socket.
func onUnix(r *http.Request) bool {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return isUnix(addr)
}

// What there is to show of a peer without an address.
const (
	unixName    = "unix"
	unknownName = "unknown" // of a net.Conn that tells none
)

// RemoteName is RemoteAddr for people: without a port that is not known, and "unix" for
// a peer on a Unix socket. "unknown" is one of whom a net.Conn of net/http's tells
// nothing.
func (c *Conn) RemoteName() string {
	remote := c.RemoteAddr()
	if remote.IsValid() {
		return addrName(remote)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, _ := c.stream().(*bridge)
	if c.is(unixSocket) || b != nil && b.unix {
		return unixName
	}
	return unknownName
}

// addrName is an address for people. A request without one came over a Unix socket.
func addrName(remote netip.AddrPort) string {
	switch {
	case !remote.IsValid():
		return unixName
	case remote.Port() == 0:
		return remote.Addr().String()
	}
	return remote.String()
}
