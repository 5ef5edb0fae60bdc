package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/millrace/millrace/poller"
)

// ServeListener is Serve for any listener, as http.Server.Serve has it: it accepts from
// ln until Drain, Shutdown or Close, and then returns ErrServerClosed, or until ln is
// closed, or its Accept fails for good. It closes ln in any case. Errors that are
// temporary are tried again. A drain accepts what waits in ln's queue, then closes ln.
//
// A *net.TCPListener or *net.UnixListener, that of net.FileListener for example, has a
// descriptor: the event loops watch a copy of it, and its connections cost what those of
// Serve do. That ln was closed by somebody else is noticed half a second later there.
//
// From another listener (of tls.NewListener, or one that wraps another) the caller's
// goroutine accepts. Of its connections, those that are a *net.TCPConn or *net.UnixConn
// go to the loops all the same. Others are carried by goroutines, as those of ServeHTTP are:
// see there for what that costs, and for Runtime.LoopsOnly. Handler, HTTP, limits,
// deadlines, drain and statistics are the same for all, and RemoteAddr is what the
// connection says. What the peer's side has acknowledged can not be asked of it, so
// Timeouts.Write goes by pieces of 16 KiB that it takes. TLS is the listener's own affair:
// Limits.TLSHandshakes does not bound it, and "h2" may be agreed on only where it is served,
// see TLSConfig.
//
// With Proxy.Protocol the PROXY header is the first that a connection gives; below TLS,
// where the connection is a *tls.Conn. A listener that takes the header off by itself,
// and tells the client as RemoteAddr, wants that switched off.
func (s *Server) ServeListener(ln net.Listener) error {
	return s.serveListener(ln, nil, nil)
}

// ServeListenerTLS is ServeListener for connections that speak TLS from their first
// byte, behind a PROXY header if there is to be one. For the files see ServeTLS.
func (s *Server) ServeListenerTLS(ln net.Listener, certFile, keyFile string) error {
	onLoops, elsewhere, err := s.tlsConfigs(certFile, keyFile)
	if err != nil {
		return closeUnserved(ln, err)
	}
	return s.serveListener(ln, onLoops, elsewhere)
}

// serveListener serves ln, with TLS as tlsConfigs says.
func (s *Server) serveListener(ln net.Listener, onLoops, elsewhere *tls.Config) error {
	if err := s.start(); err != nil {
		return closeUnserved(ln, err)
	}
	if adopter, ok := s.engine.(poller.Adopter); ok {
		switch adopted, err := adopter.Adopt(ln); {
		case err == nil:
			return s.serveAdopted(adopted, ln, onLoops)
		case !errors.Is(err, poller.ErrNotSupported):
			return closeUnserved(ln, fmt.Errorf("server: %w", err))
		}
	}
	from := entrance{addr: ln.Addr(), tls: onLoops, elsewhere: elsewhere}
	n := &netAcceptor{entrance: from, srv: s, ln: ln, began: time.Now(), ending: make(chan struct{})}
	done, err := s.register(n)
	if err != nil {
		return closeUnserved(ln, err)
	}
	n.serve()
	return <-done
}

// originLook is how often a listener that was adopted is looked at.
const originLook = 500 * time.Millisecond

// serveAdopted serves a listener with the descriptor of ln, until that is closed.
func (s *Server) serveAdopted(adopted poller.Listener, ln net.Listener, config *tls.Config) error {
	a, done, err := s.beginServing(adopted, config)
	if err != nil {
		return err
	}
	look := time.NewTicker(originLook)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-look.C:
		}
		if isClosed(ln) {
			a.loop.PostTask(abandoned{a})
		}
	}
}

// isClosed says whether ln, which has a descriptor, was closed.
func isClosed(ln net.Listener) bool {
	conn, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// abandoned stops accepting from a listener that its owner has closed, as a loop.Task.
type abandoned struct{ *acceptor }

// Do implements loop.Task.
func (a abandoned) Do() (again bool) {
	a.loop.abandonListener(a.acceptor)
	return false
}

// ServeConn hands a connection to the server, which owns it from then on, as if it had
// been accepted by ServeListener. It does not block. An error says that it does not get in:
// ErrServerClosed, a *ws.Refusal for one that is one too many, or another error for one
// that is broken or comes from no trusted proxy; it was closed then, or is, once it had the
// time to read why. What is asked for later, the client hears and
// nobody else.
func (s *Server) ServeConn(conn net.Conn) error {
	if err := s.start(); err != nil {
		return closeUnserved(conn, err)
	}
	if s.Handler == nil && s.Upgrade == nil {
		s.warnUnhandled()
	}
	if s.stopping.Load() {
		return closeUnserved(conn, ErrServerClosed)
	}
	return s.welcome(conn, &noEntrance)
}

// noEntrance is that of connections which no listener of the server's has accepted.
var noEntrance entrance
