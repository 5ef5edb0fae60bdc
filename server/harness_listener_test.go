package server_test

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// door is a kind of listener that ServeListener is given.
type door struct {
	listen  func(t *testing.T) net.Listener
	serve   func(srv *server.Server, ln net.Listener) error // nil: ServeListener
	dial    func(ln net.Listener) (net.Conn, error)         // nil: as its address says
	bridged bool                                            // its connections are carried by goroutines
	secure  bool
}

// doors are all that there are, by what they are.
var doors = map[string]door{
	"TCP":      {listen: listenTCP},
	"Unix":     {listen: listenUnix},
	"file":     {listen: listenFile},
	"wrapper":  {listen: func(t *testing.T) net.Listener { return onlyAccept{listenTCP(t)} }},
	"wrapped":  {listen: listenWrapped, bridged: true},
	"pipes":    {listen: listenPipes, dial: dialPipe, bridged: true},
	"TLS":      {listen: listenTLS, bridged: true, secure: true},
	"own TLS":  {listen: listenTCP, serve: serveTLS, secure: true},
	"TLS over": {listen: listenWrapped, serve: serveTLS, bridged: true, secure: true},
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func listenUnix(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// listenFile has the descriptor of a listener that is gone.
func listenFile(t *testing.T) net.Listener {
	t.Helper()
	first := listenTCP(t)
	file, err := first.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(file)
	if err := errors.Join(err, file.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	return ln
}

// onlyAccept is a listener that has no descriptor, whose connections have.
type onlyAccept struct{ net.Listener }

func listenWrapped(t *testing.T) net.Listener {
	t.Helper()
	return wrappingListener{listenTCP(t), wrapTCP}
}

func listenTLS(t *testing.T) net.Listener {
	t.Helper()
	return tls.NewListener(listenTCP(t), &tls.Config{
		Certificates: []tls.Certificate{serverCertificate()}, NextProtos: []string{"h2", "http/1.1"},
	})
}

func serveTLS(srv *server.Server, ln net.Listener) error {
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{serverCertificate()}}
	return srv.ServeListenerTLS(ln, "", "")
}

// pipeListener is a listener in memory.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func listenPipes(*testing.T) net.Listener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "pipe", Name: "pipes"} }

func dialPipe(ln net.Listener) (net.Conn, error) {
	p := ln.(*pipeListener)
	near, far := net.Pipe()
	select {
	case p.conns <- near:
		return far, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// open listens, and serves until the test ends.
func (d door) open(t *testing.T, srv *server.Server) (connect func() *client, ln net.Listener) {
	t.Helper()
	ln = d.listen(t)
	d.serveIt(t, srv, ln)
	return func() *client { return d.connect(t, ln) }, ln
}

// serveIt serves until the test ends.
func (d door) serveIt(t *testing.T, srv *server.Server, ln net.Listener) (served chan error) {
	t.Helper()
	served = make(chan error, 1)
	go func() {
		if d.serve == nil {
			served <- srv.ServeListener(ln)
		} else {
			served <- d.serve(srv, ln)
		}
	}()
	eventually(t, "the server is ready", func() bool { return srv.Ready() || len(served) > 0 })
	t.Cleanup(func() {
		closeServer(t, srv)
		select {
		case err := <-served:
			if !errors.Is(err, server.ErrServerClosed) {
				t.Errorf("ServeListener: %v, want ErrServerClosed", err)
			}
		case <-time.After(patience):
			t.Error("ServeListener did not return after Close")
		}
	})
	return served
}

func (d door) connect(t *testing.T, ln net.Listener) *client {
	t.Helper()
	conn, err := d.dialIt(ln)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func (d door) dialIt(ln net.Listener) (conn net.Conn, err error) {
	if d.dial != nil {
		return d.dial(ln)
	}
	if conn, err = net.Dial(ln.Addr().Network(), ln.Addr().String()); err != nil || !d.secure {
		return conn, err
	}
	return tls.Client(conn, clientTLS()), nil
}

// onDoors runs a test on each kind of listener.
func onDoors(t *testing.T, test func(t *testing.T, d door)) {
	for name, d := range doors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

// startDoor is start by a listener of that kind, whose address can be dialed.
func startDoor(name string) func(*testing.T, func(*server.Server)) (string, *server.Server) {
	return func(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
		t.Helper()
		srv, l := prepare(t, systemEngine(t), configure)
		d := doors[name]
		_, ln := d.open(t, srv)
		t.Cleanup(func() { eventually(t, "a Close for every Open", func() bool { return l.balanced() }) })
		addr = ln.Addr().String()
		if d.secure {
			dialers.Store(addr, func(string) (net.Conn, error) { return d.dialIt(ln) })
			t.Cleanup(func() { dialers.Delete(addr) })
		}
		return addr, srv
	}
}

// onWrapped and onTLSListener are starters by connections that goroutines carry.
func onWrapped(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
	return onMounted(startDoor("wrapped"))(t, configure)
}

func onTLSListener(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
	return onMounted(startDoor("TLS"))(t, configure)
}
