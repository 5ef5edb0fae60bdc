// Package servertest tests applications on a server.Server: on a network in memory,
// without ports and without waiting. Start starts a server, Server.Connect opens a
// client, and the test moves the server's clock.
//
//	func TestChat(t *testing.T) {
//		s := servertest.Start(t, newChatServer())
//		ann, bob := s.Connect("/rooms/hall"), s.Connect("/rooms/hall")
//		ann.SendText("hello")
//		if got := bob.ReceiveText(); got != "hello" {
//			t.Errorf("bob got %q", got)
//		}
//	}
//
// What fails, fails the test: methods return no errors unless they say so. They belong
// to the test's goroutine, as t.Fatal does. No call waits for more than Patience.
package servertest

import (
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Patience is how long a call waits, in real time, before it fails the test.
const Patience = 10 * time.Second

// Server is a running server on a network of its own.
type Server struct {
	*server.Server
	// Network is the network in memory, for tests that want more of it: faults, small
	// windows, resets.
	Network *simnet.Network

	t    testing.TB
	addr string
}

// Start starts srv, whose Runtime.Engine must be nil, on a network in memory, and closes
// it when the test ends. Without a Logger srv logs to the test's output. It sets
// srv.Runtime.Debug: a payload that a handler keeps without Clone is overwritten.
func Start(t testing.TB, srv *server.Server) *Server {
	t.Helper()
	if srv.Runtime.Engine != nil {
		t.Fatal("servertest: the server has a Runtime.Engine; Start sets it")
	}
	if srv.Logger == nil {
		srv.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	network := simnet.New(simnet.Config{})
	srv.Runtime.Engine, srv.Runtime.Debug = network, true
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	s := &Server{Server: srv, Network: network, t: t, addr: ln.Addr().String()}
	served := make(chan error, 1)
	go func() { served <- s.serve(func() error { return srv.Serve(ln) }) }() // ends with Close
	t.Cleanup(func() {
		_ = srv.Close() // always nil
		if err := <-served; err != nil {
			t.Errorf("servertest: Serve: %v", err)
		}
	})
	return s
}

// serve is Serve without the error that says that all is well.
func (s *Server) serve(serve func() error) error {
	if err := serve(); !errors.Is(err, server.ErrServerClosed) {
		return err
	}
	return nil
}

// Connect opens a WebSocket at a target, such as "/rooms/hall?as=ann".
func (s *Server) Connect(target string) *Client {
	s.t.Helper()
	c, err := s.Upgrade(&ws.ClientRequest{Target: target})
	if err != nil {
		s.t.Fatalf("servertest: %s: %v", target, err)
	}
	return c
}

// Upgrade opens a WebSocket with any request; without a Host it is example.com. A
// refusal is a *ws.RefusedError.
func (s *Server) Upgrade(r *ws.ClientRequest) (*Client, error) {
	s.t.Helper()
	request := *r
	if request.Host == "" {
		request.Host = "example.com"
	}
	if err := request.Check(); err != nil {
		s.t.Fatalf("servertest: %v", err)
	}
	conn, err := s.Network.Dial(s.addr)
	if err != nil {
		s.t.Fatalf("servertest: %v", err)
	}
	c := newClient(s, conn)
	if err := c.upgrade(&request); err != nil {
		_ = conn.Close() // its end is the server's to see
		return nil, err
	}
	return c, nil
}

// HTTP is a client for the plain requests that Server.HTTP answers, whatever host they
// name.
func (s *Server) HTTP() *http.Client {
	transport := &http.Transport{DialContext: s.Network.DialContext}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: toServer{transport, s.addr}, Timeout: Patience}
}

// toServer sends all requests to one address.
type toServer struct {
	http.RoundTripper
	addr string
}

// RoundTrip implements http.RoundTripper.
func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	r.URL.Host = s.addr
	return s.RoundTripper.RoundTrip(r)
}

// Advance moves the server's clock, on which its timeouts and keepalive pings are, and
// has it do what is due. Before and after it waits until the server is at rest.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	s.WaitIdle()
	s.Network.Advance(d)
	s.WaitIdle()
}

// WaitIdle waits until the server has handled all that was sent to it. It fails the
// test if a handler does not come to its end.
func (s *Server) WaitIdle() {
	s.t.Helper()
	// A handler that is slow has left its loop, and the network does not know of it.
	for end := time.Now().Add(Patience); time.Now().Before(end); {
		if s.Network.WaitIdle(Patience) && s.Stats().Workers.Held == 0 && s.Network.Idle() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatalf("servertest: the server does not come to rest: %d handlers block", s.Stats().Workers.Held)
}
