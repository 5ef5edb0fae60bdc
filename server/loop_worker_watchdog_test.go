package server_test

import (
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The watchdog takes a loop from a slow turn under Conn.mu of its connection, and a
// leader outside a turn can't be replaced. So nothing long may run in either place:
// each test here makes something long, and looks that others go on beside it.

// TestCompressionHoldsNoLoop: while a large message is compressed in a context, other
// connections of the same loop are served, and the one that is compressing can be
// looked at.
func TestCompressionHoldsNoLoop(t *testing.T) {
	t.Parallel()
	size := 16 << 20 // which takes half a second
	if slowedDown() {
		size /= 8
	}
	letters := make([]byte, size)
	for i, random := 0, rand.New(rand.NewPCG(1, 2)); i < len(letters); i++ {
		letters[i] = "abcdefghij"[random.IntN(10)]
	}
	began, ended := make(chan *server.Conn, 1), make(chan error, 1)
	connect, srv := onSimnet(t, func(s *server.Server) {
		s.Runtime.Loops, s.Queue.Max = 1, 64<<20
		s.Deflate = &server.Deflate{Level: 9, ServerTakeover: true}
		s.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
			if string(m.Payload) == "compress" {
				began <- c
				ended <- c.Send(ws.Binary, letters)
				return
			}
			_ = c.Send(m.Opcode, m.Payload)
		})
	})
	other := connect().upgraded()
	c := connect()
	c.send(upgradeRequest("Sec-WebSocket-Extensions: permessage-deflate"))
	c.response()
	c.send(frame(opText, "compress"))
	conn := <-began
	other.send(frame(opText, "beside it"))
	other.expect(opText, "beside it")
	if conn.Stats().MessagesOut != 0 || len(ended) > 0 {
		t.Error("others were served only when the message was compressed")
	}
	if srv.Stats().Handovers == 0 {
		t.Error("the loop was not taken")
	}
	c.reset()
	<-ended // ErrClosed, or nil
}

// slowEngine is a network that notes what the server asks of it at once.
type slowEngine struct {
	*simnet.Network
	largest atomic.Int64 // write
	closed  atomic.Int64 // descriptors since the last Wait
	most    atomic.Int64
}

func (e *slowEngine) Write(fd int, p []byte) (int, error) {
	e.note(len(p))
	return e.Network.Write(fd, p)
}

func (e *slowEngine) Writev(fd int, pieces [][]byte) (int, error) {
	n := 0
	for _, p := range pieces {
		n += len(p)
	}
	e.note(n)
	return e.Network.Writev(fd, pieces)
}

func (e *slowEngine) note(n int) {
	for old := e.largest.Load(); int64(n) > old && !e.largest.CompareAndSwap(old, int64(n)); old = e.largest.Load() {
	}
}

func (e *slowEngine) NewPoller() (poller.Poller, error) {
	p, err := e.Network.NewPoller()
	return countingPoller{p, e}, err
}

// countingPoller counts the descriptors that are closed between two Waits.
type countingPoller struct {
	poller.Poller
	e *slowEngine
}

func (p countingPoller) Wait(events []poller.Event, timeout time.Duration) (int, error) {
	if closed := p.e.closed.Swap(0); closed > p.e.most.Load() {
		p.e.most.Store(closed)
	}
	return p.Poller.Wait(events, timeout)
}

func (p countingPoller) CloseFD(fd int) error {
	p.e.closed.Add(1)
	return p.Poller.CloseFD(fd)
}

// TestWritesAreBounded: however large a message is, or a queue, the kernel gets at
// most 1 MiB at a time while Conn.mu is held, and all arrives.
func TestWritesAreBounded(t *testing.T) {
	t.Parallel()
	const size = 10 << 20
	e := &slowEngine{Network: simnet.New(simnet.Config{SendBuffer: 64 << 20, RecvBuffer: 64 << 20})}
	conns := make(chan *server.Conn, 1)
	addr, _ := start(t, e, func(s *server.Server) {
		s.Limits.Message, s.Queue.Max = size, 64<<20
		s.Handler = handler{open: func(c *server.Conn) { conns <- c }, message: echo{}.Message}
	})
	c := dialSim(t, e.Network, addr).upgraded()
	conn := <-conns
	if err := conn.Send(ws.Binary, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SendPrepared(ws.Prepare(ws.Binary, make([]byte, size))); err != nil {
		t.Fatal(err)
	}
	go c.send(frame(opBinary, pattern(1, size)))
	c.expect(opBinary, string(make([]byte, size)))
	c.expect(opBinary, string(make([]byte, size)))
	c.expect(opBinary, pattern(1, size))
	if got := e.largest.Load(); got > 1<<20 {
		t.Errorf("%d bytes were given to the kernel at once", got)
	}
}

// TestRoundsAreBounded: deadlines of many connections that are over at once, and a
// server that stops, do not hold up a loop's round.
func TestRoundsAreBounded(t *testing.T) {
	t.Parallel()
	const many = 10_000
	for _, stop := range []bool{false, true} {
		e := &slowEngine{Network: simnet.New(simnet.Config{})}
		addr, srv := start(t, e, func(s *server.Server) { s.Runtime.Loops = 1 })
		for range many {
			if _, err := e.Dial(addr); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all are in", func() bool { return srv.Stats().Open == many })
		if stop {
			closeServer(t, srv)
		} else {
			pass(t, e.Network, 11*time.Second)
		}
		eventually(t, "none is open", func() bool { return srv.Stats().Open == 0 })
		if got := e.most.Load(); got > 3000 || got == 0 {
			t.Errorf("stop %v: %d connections were closed in one round", stop, got)
		}
	}
}

// TestSlowSocketOption: a connection of somebody else's whose SetNoDelay takes its
// time holds up nobody who looks at the connection.
func TestSlowSocketOption(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	srv := &server.Server{Handler: opened(conns), Runtime: server.Runtime{Loops: 1}}
	near, far := net.Pipe()
	slow := slowOption{far, make(chan struct{}), make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/", srv.ServeHTTP)
	web := &http.Server{Handler: mux}
	ln := &oneConn{conn: slow, done: make(chan struct{})}
	go func() { _ = web.Serve(ln) }()
	t.Cleanup(func() {
		_, _ = web.Close(), srv.Close()
	})
	c := newClient(t, near)
	go c.send(upgradeRequest())
	c.expectSwitch()
	conn := <-conns
	set := make(chan error, 1)
	go func() { set <- conn.SetNoDelay(true) }()
	<-slow.asked
	if infos, err := srv.Conns(t.Context(), server.ByAge, 1); err != nil || len(infos) != 1 {
		t.Errorf("%v, %v", infos, err)
	}
	if err := conn.SendText("beside it"); err != nil {
		t.Error(err)
	}
	c.expect(opText, "beside it")
	close(slow.release)
	if err := <-set; err != nil {
		t.Error(err)
	}
}

// slowOption is a net.Conn whose SetNoDelay waits for release.
type slowOption struct {
	net.Conn
	asked, release chan struct{}
}

func (s slowOption) SetNoDelay(bool) error {
	close(s.asked)
	<-s.release
	return nil
}

// oneConn is a listener that has one connection.
type oneConn struct {
	conn net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	close(l.done)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
