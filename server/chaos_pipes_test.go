package server_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/millrace/millrace/server"
)

// pipes is a net.Listener whose connections are pipes: no event loop can watch
// them, so they come by bridges.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// mountOnPipes serves srv by net/http until the test ends.
func mountOnPipes(t *testing.T, srv *server.Server) *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	web := &http.Server{Handler: srv, ErrorLog: log.New(io.Discard, "", 0)}
	var served sync.WaitGroup
	served.Go(func() { _ = web.Serve(p) }) // ends with ErrServerClosed
	t.Cleanup(func() {
		_ = web.Close() // what its connections say is of no interest
		served.Wait()
	})
	return p
}

func (p *pipes) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
