package simnet_test

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// patience ends a test that would hang; it is no measurement.
const patience = 20 * time.Second

// echoServer is the smallest correct user of an engine: one loop that writes
// back what it reads.
type echoServer struct {
	t        *testing.T
	net      *simnet.Network
	poller   poller.Poller
	listener poller.Listener
	conns    map[poller.Token]*echoConn
	last     poller.Token
	stop     atomic.Bool
	done     sync.WaitGroup
}

// echoConn is a connection and what it still has to write.
type echoConn struct {
	fd      int
	pending []byte
}

const listenerToken = poller.Token(1)

// newEchoServer starts a server, which ends with the test and then checks that
// nothing is left open and no call was wrong.
func newEchoServer(t *testing.T, n *simnet.Network) *echoServer {
	t.Helper()
	s := &echoServer{t: t, net: n, conns: make(map[poller.Token]*echoConn), last: listenerToken}
	s.poller, s.listener = listen(t, n)
	s.done.Go(s.run)
	t.Cleanup(s.close)
	return s
}

// listen makes a poller with a listener in it.
func listen(t testing.TB, n *simnet.Network) (poller.Poller, poller.Listener) {
	t.Helper()
	p, err := n.NewPoller()
	must(t, err)
	l, err := n.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, p.Add(l.FD(), listenerToken))
	return p, l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *echoServer) dial() *simnet.Conn {
	s.t.Helper()
	c, err := s.net.Dial(s.listener.Addr().String())
	must(s.t, err)
	must(s.t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func (s *echoServer) run() {
	events := make([]poller.Event, 8)
	for !s.stop.Load() {
		count, err := s.poller.Wait(events, -1)
		if err != nil {
			s.t.Errorf("Wait: %v", err)
			return
		}
		for _, e := range events[:count] {
			if e.Token == listenerToken {
				s.acceptAll()
			} else if c := s.conns[e.Token]; c != nil {
				s.serve(e.Token, c)
			}
		}
	}
}

func (s *echoServer) acceptAll() {
	for {
		fd, _, err := s.listener.Accept()
		if errors.Is(err, poller.ErrAgain) {
			return
		}
		if err != nil {
			s.t.Errorf("Accept: %v", err)
			return
		}
		s.last++
		if err := s.poller.Add(fd, s.last); err != nil {
			s.net.Close(fd)
			continue
		}
		s.conns[s.last] = &echoConn{fd: fd}
	}
}

// serve does all that can be done for a connection.
func (s *echoServer) serve(t poller.Token, c *echoConn) {
	err := s.echo(c)
	if err == nil || errors.Is(err, poller.ErrAgain) {
		return
	}
	delete(s.conns, t)
	if err := s.poller.CloseFD(c.fd); err != nil {
		s.t.Errorf("CloseFD: %v", err)
	}
}

// echo answers io.EOF once the client ended and has its whole echo.
func (s *echoServer) echo(c *echoConn) error {
	var buffer [4096]byte
	for {
		for len(c.pending) > 0 {
			n, err := s.net.Write(c.fd, c.pending)
			if err != nil {
				return err
			}
			c.pending = c.pending[n:]
		}
		n, err := s.net.Read(c.fd, buffer[:])
		if err != nil {
			return err
		}
		c.pending = append(c.pending, buffer[:n]...)
	}
}

func (s *echoServer) close() {
	s.stop.Store(true)
	s.poller.Wake()
	s.done.Wait()
	for _, c := range s.conns {
		must(s.t, s.poller.CloseFD(c.fd))
	}
	must(s.t, s.poller.Remove(s.listener.FD()))
	must(s.t, s.listener.Close())
	must(s.t, s.poller.Close())
	if open := s.net.OpenFDs(); open != 0 {
		s.t.Errorf("%d descriptors are left open", open)
	}
	for _, v := range s.net.Violations() {
		s.t.Error(v)
	}
}

// pattern returns bytes in which a lost, doubled or moved one shows.
func pattern(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// roundTrip sends sent and returns what comes back up to the end of the stream.
func roundTrip(t *testing.T, c *simnet.Conn, sent []byte) []byte {
	t.Helper()
	var writer sync.WaitGroup
	writer.Go(func() {
		if _, err := c.Write(sent); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	})
	got, err := io.ReadAll(c)
	must(t, err)
	writer.Wait()
	must(t, c.Close())
	return got
}
