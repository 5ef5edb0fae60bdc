package server_test

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// noLog is the Logger of servers whose log is not asked for: what they say would stand in
// the tests' own output.
var noLog = slog.New(slog.DiscardHandler)

// startServer serves on 127.0.0.1 with the engine that MILLRACE_POLLER names
// until the test ends, and then checks the ledger of its handlers.
func startServer(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	return start(t, systemEngine(t), configure)
}

// systemEngine is the engine that MILLRACE_POLLER names.
func systemEngine(t testing.TB) poller.Engine {
	t.Helper()
	engine, err := poller.New(os.Getenv("MILLRACE_POLLER"))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// startSim is startServer on a network in memory, which must end without a
// violation of the poller contract and without an open descriptor.
func startSim(t *testing.T, config simnet.Config, configure func(*server.Server)) (*simnet.Network, string, *server.Server) {
	t.Helper()
	n := simnet.New(config)
	t.Cleanup(func() {
		for _, violation := range n.Violations() {
			t.Errorf("simnet: %s", violation)
		}
		eventually(t, "no open descriptor", func() bool { return n.OpenFDs() == 0 })
	})
	addr, srv := start(t, n, configure)
	return n, addr, srv
}

func start(t *testing.T, engine poller.Engine, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	srv, l := prepare(t, engine, configure)
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	if n, ok := engine.(*simnet.Network); ok {
		onNetworks.Store(n, srv)
		t.Cleanup(func() { onNetworks.Delete(n) })
	}
	served := make(chan error, 1)
	watchedLn := &watchedListener{Listener: ln, taken: make(chan struct{})}
	go func() { served <- serve(srv, watchedLn) }()
	select {
	case <-watchedLn.taken: // from here on a network at rest is one that listens
	case err := <-served:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closeServer(t, srv)
		select {
		case err := <-served:
			if !errors.Is(err, server.ErrServerClosed) {
				t.Errorf("Serve: %v, want ErrServerClosed", err)
			}
		case <-time.After(patience):
			t.Error("Serve did not return after Close")
		}
		eventually(t, "a Close for every Open", func() bool { return l.balanced() })
	})
	return addr, srv
}

// prepare makes a server that echoes, if configure says nothing else, and the
// ledger of its handlers.
func prepare(t testing.TB, engine poller.Engine, configure func(*server.Server)) (*server.Server, *ledger) {
	srv := &server.Server{Runtime: server.Runtime{Engine: engine}, Handler: echo{}, Logger: noLog}
	if configure != nil {
		configure(srv)
	}
	l := &ledger{t: t, open: make(map[*server.Conn]*page)}
	l.watch(srv)
	return srv, l
}

func closeServer(t testing.TB, srv *server.Server) {
	t.Helper()
	if err := srv.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// watchedListener tells when a loop has begun to accept from it.
type watchedListener struct {
	poller.Listener
	once  sync.Once
	taken chan struct{}
}

func (l *watchedListener) FD() int {
	l.once.Do(func() { close(l.taken) })
	return l.Listener.FD()
}

// eventually waits until what is true, or fails the test.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited %v in vain for: %s", patience, what)
			return
		}
	}
}

// eventuallyOn is eventually with the clock of n going on: a worker whose turn
// was slow can come too late for the deadline that a test has moved it to.
func eventuallyOn(t testing.TB, n *simnet.Network, what string, done func() bool) {
	t.Helper()
	eventually(t, what, func() bool {
		n.Advance(100 * time.Millisecond)
		return done()
	})
}

// idle waits until the server on n has handled all there is. A turn that was slow, perhaps for want of a core, has left
// its loop, and the network does not know of it: idle waits for that too, unless a handler blocks.
func idle(t testing.TB, n *simnet.Network) {
	t.Helper()
	const blocks = 100 * time.Millisecond
	for end := time.Now().Add(blocks); ; time.Sleep(time.Millisecond) {
		if !n.WaitIdle(patience) {
			t.Fatal("the network does not come to rest")
		}
		srv, known := onNetworks.Load(n)
		if !known || srv.(*server.Server).Stats().Workers.Held == 0 && n.Idle() {
			return
		}
		if time.Now().After(end) {
			return
		}
	}
}

// onNetworks are the servers of tests by their networks.
var onNetworks sync.Map

// ledger holds every handler of a server to its promises: Open first, Close last
// and once, one method of a connection at a time.
type ledger struct {
	t    testing.TB
	mu   sync.Mutex
	open map[*server.Conn]*page
}

type page struct{ busy bool }

// watch puts the ledger between srv and its handlers.
func (l *ledger) watch(srv *server.Server) {
	if srv.Handler != nil {
		srv.Handler = l.watched(srv.Handler)
	}
	hook := srv.Upgrade
	if hook == nil {
		return
	}
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		accept, err := hook(r)
		if accept.Handler != nil {
			accept.Handler = l.watched(accept.Handler)
		}
		return accept, err
	}
}

func (l *ledger) balanced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) == 0
}

// enter notes that a method begins and gives what to do when it ends.
func (l *ledger) enter(c *server.Conn, method string) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.open[c]
	switch {
	case method == "Open" && p == nil:
		p = &page{}
		l.open[c] = p
	case method == "Open":
		l.t.Error("Open twice for one connection")
	case p == nil:
		l.t.Errorf("%s without Open, or after Close", method)
		return func() {}
	case p.busy:
		l.t.Errorf("%s while another method of the connection runs", method)
	}
	p.busy = true
	if method == "Close" {
		delete(l.open, c)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		p.busy = false
	}
}

// watched puts the ledger in front of a handler.
func (l *ledger) watched(h server.Handler) server.Handler {
	if s, ok := h.(server.StreamHandler); ok {
		return watchedPieces{watched{l, h}, s}
	}
	return watched{l, h}
}

type watched struct {
	l     *ledger
	inner server.Handler
}

type watchedPieces struct {
	watched
	inner server.StreamHandler
}

func (h watchedPieces) Message(*server.Conn, ws.Message) {
	h.l.t.Error("Message of a StreamHandler")
}

func (h watchedPieces) Piece(c *server.Conn, m ws.Message) {
	defer h.l.enter(c, "Piece")()
	h.inner.Piece(c, m)
}

func (h watched) Open(c *server.Conn) {
	defer h.l.enter(c, "Open")()
	h.inner.Open(c)
}

func (h watched) Message(c *server.Conn, m ws.Message) {
	defer h.l.enter(c, "Message")()
	h.inner.Message(c, m)
}

func (h watched) Close(c *server.Conn, err error) {
	defer h.l.enter(c, "Close")()
	h.inner.Close(c, err)
}

func (h watched) Ping(c *server.Conn, payload []byte) {
	defer h.l.enter(c, "Ping")()
	if p, ok := h.inner.(server.PingHandler); ok {
		p.Ping(c, payload)
	}
}

func (h watched) Pong(c *server.Conn, payload []byte) {
	defer h.l.enter(c, "Pong")()
	if p, ok := h.inner.(server.PongHandler); ok {
		p.Pong(c, payload)
	}
}

func (h watched) Drained(c *server.Conn) {
	defer h.l.enter(c, "Drained")()
	if d, ok := h.inner.(server.DrainedHandler); ok {
		d.Drained(c)
	}
}

func (h watched) Missed(c *server.Conn, messages int) {
	defer h.l.enter(c, "Missed")()
	if m, ok := h.inner.(server.MissedHandler); ok {
		m.Missed(c, messages)
	}
}

// echo sends back what it gets.
type echo struct{}

func (echo) Open(*server.Conn)                    {}
func (echo) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // closing: the test sees
func (echo) Close(*server.Conn, error)            {}

// inPieces is h with its Message called for pieces, if they are wanted.
func inPieces(wanted bool, h server.Handler) server.Handler {
	if wanted {
		return pieceByPiece{h}
	}
	return h
}

type pieceByPiece struct{ server.Handler }

func (h pieceByPiece) Piece(c *server.Conn, m ws.Message) { h.Handler.Message(c, m) }

// handler is a Handler of functions; those that are nil do nothing.
type handler struct {
	open    func(c *server.Conn)
	message func(c *server.Conn, m ws.Message)
	close   func(c *server.Conn, err error)
}

func (h handler) Open(c *server.Conn) {
	if h.open != nil {
		h.open(c)
	}
}

func (h handler) Message(c *server.Conn, m ws.Message) {
	if h.message != nil {
		h.message(c, m)
	}
}

func (h handler) Close(c *server.Conn, err error) {
	if h.close != nil {
		h.close(c, err)
	}
}
