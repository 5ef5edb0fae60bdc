package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"

	"github.com/millrace/millrace/internal/addrcount"
	"github.com/millrace/millrace/poller"
)

// ListenAndServe listens on Addr and serves until Drain, Shutdown or Close, and
// then returns ErrServerClosed.
func (s *Server) ListenAndServe() error {
	if err := s.start(); err != nil {
		return err
	}
	ln, err := s.listenAt(cmp.Or(s.Addr, ":8080"))
	if err != nil {
		return err
	}
	return s.Serve(ln)
}

// Listen opens a listener of the server's engine, for Serve: on "tcp", "tcp4" or "tcp6",
// or on "unix", whose addr is a path, see Runtime.SocketMode.
func (s *Server) Listen(network, addr string) (poller.Listener, error) {
	if err := s.start(); err != nil {
		return nil, err
	}
	return s.listen(network, addr)
}

// Serve accepts from ln, which must be of the server's engine, until Drain,
// Shutdown or Close, and then returns ErrServerClosed, or until ln can not be
// watched. It closes ln in any case. ServeListener takes a net.Listener.
func (s *Server) Serve(ln poller.Listener) error { return s.serve(ln, nil) }

func (s *Server) serve(ln poller.Listener, tls *tls.Config) error {
	_, done, err := s.beginServing(ln, tls)
	if err != nil {
		return err
	}
	return <-done
}

// beginServing has the first loop accept from ln, or closes it. done gets why that is
// over.
func (s *Server) beginServing(ln poller.Listener, tls *tls.Config) (a *acceptor, done <-chan error, err error) {
	if err := s.start(); err != nil {
		return nil, nil, closeUnserved(ln, err)
	}
	addr := ln.Addr()
	a = &acceptor{entrance: entrance{addr: addr, tls: tls}, ln: ln, loop: s.loops[0], unix: isUnix(addr)}
	if done, err = s.register(a); err != nil {
		return nil, nil, closeUnserved(ln, err)
	}
	if !a.loop.PostTask(a) {
		s.listenerClosed(a, ErrServerClosed)
	}
	return a, done, nil
}

// register notes a listener, if the server, which has started, takes any. done gets why
// it is closed.
func (s *Server) register(l listening) (done chan error, err error) {
	if s.Handler == nil && s.Upgrade == nil {
		s.warnUnhandled()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return nil, ErrServerClosed
	}
	done = make(chan error, 1)
	s.listeners[l] = done
	return done, nil
}

// closeUnserved closes a listener that is not served because of err.
func closeUnserved(ln io.Closer, err error) error {
	if closeErr := ln.Close(); closeErr != nil {
		return errors.Join(err, closeErr)
	}
	return err
}

// ListenAddrs are the addresses being served now.
func (s *Server) ListenAddrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []net.Addr
	for l := range s.listeners {
		addrs = append(addrs, l.listenAddr())
	}
	return addrs
}

// start brings the loops up once, for Serve or for the first connection that
// net/http hands over.
func (s *Server) start() error {
	s.startOnce.Do(func() { s.startErr = s.startLoops() })
	return s.startErr
}

func (s *Server) startLoops() error {
	err := s.Validate()
	if err != nil {
		return err
	}
	s.admits = s.parseAdmittance()
	s.limits = s.effectiveLimits()
	if s.Deflate != nil {
		s.compression = newCompression(s.Deflate)
	}
	s.admission.addresses = addrcount.New()
	s.instance = rand.Uint64()
	if s.fallback.Handler = s.Handler; s.Handler == nil {
		s.fallback.Handler = ignore{}
	}
	s.listeners = make(map[listening]chan error)
	s.halt = make(chan struct{})
	if s.engine = s.Runtime.Engine; s.engine == nil {
		if s.engine, err = poller.New(""); err != nil {
			return err
		}
	}
	s.group = s.newGroup()
	if s.limits.paced() {
		s.group.KeepRounds()
	}
	s.handshakes.init(s)
	s.hooks.init(s.limits.workers, s.limits.loops)
	n := s.limits.loops
	for i := range n {
		p, err := s.engine.NewPoller()
		if err != nil {
			s.closePollers()
			return fmt.Errorf("server: loop %d: %w", i, err)
		}
		s.loops = append(s.loops, newShard(s, p))
	}
	s.loopsDone.Add(n)
	s.group.Start()
	go s.endGroup() // ends with the last connection
	s.governor.start(s)
	s.started.Store(true)
	return nil
}

func (s *Server) closePollers() {
	for _, l := range s.loops {
		_ = l.poll.Close() // the first error is the one to report
	}
}
