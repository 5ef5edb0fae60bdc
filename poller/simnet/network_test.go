package simnet_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// connect dials and accepts; the descriptor is in no poller.
func connect(t testing.TB, n *simnet.Network, l poller.Listener) (*simnet.Conn, int) {
	t.Helper()
	c, err := n.Dial(l.Addr().String())
	must(t, err)
	fd, _, err := l.Accept()
	must(t, err)
	return c, fd
}

// drainEvents takes all events there are.
func drainEvents(t *testing.T, p poller.Poller) {
	t.Helper()
	for events := make([]poller.Event, 64); ; {
		n, err := p.Wait(events, 0)
		must(t, err)
		if n == 0 {
			return
		}
	}
}

// wantEvent takes the one event that there must be.
func wantEvent(t *testing.T, p poller.Poller, token poller.Token, ready poller.Ready) {
	t.Helper()
	events := make([]poller.Event, 64)
	n, err := p.Wait(events, 0)
	must(t, err)
	if n != 1 || events[0].Token != token || events[0].Ready&ready != ready {
		t.Fatalf("events = %+v, want one with token %d and readiness %b", events[:n], token, ready)
	}
}

func wantNoEvent(t *testing.T, p poller.Poller) {
	t.Helper()
	events := make([]poller.Event, 64)
	if n, err := p.Wait(events, 0); n != 0 || err != nil {
		t.Fatalf("events = %+v, %v, want none", events[:n], err)
	}
}

func TestNumbersAreReusedLowestFirst(t *testing.T) {
	n := simnet.New(simnet.Config{})
	_, l := listen(t, n)
	fds := make([]int, 2500) // more than a chunk of the table
	for i := range fds {
		_, fds[i] = connect(t, n, l)
		if i > 0 && fds[i] != fds[i-1]+1 {
			t.Fatalf("number %d follows %d", fds[i], fds[i-1])
		}
	}
	for _, i := range []int{2000, 3, 70} {
		must(t, n.Close(fds[i]))
	}
	for _, i := range []int{3, 70, 2000} {
		if _, fd := connect(t, n, l); fd != fds[i] {
			t.Errorf("got number %d, want %d", fd, fds[i])
		}
	}
	if open := n.OpenFDs(); open != 2501 {
		t.Errorf("%d descriptors are open, want 2501", open)
	}
}

func TestMaxFDs(t *testing.T) {
	n := simnet.New(simnet.Config{MaxFDs: 2})
	_, l := listen(t, n)
	_, fd := connect(t, n, l)
	_, err := n.Dial(l.Addr().String())
	must(t, err)
	if _, _, err := l.Accept(); !errors.Is(err, poller.ErrExhausted) {
		t.Fatalf("Accept = %v, want ErrExhausted", err)
	}
	if _, err := n.Listen("tcp", ":0"); !errors.Is(err, poller.ErrExhausted) {
		t.Fatalf("Listen = %v, want ErrExhausted", err)
	}
	must(t, n.Close(fd))
	_, _, err = l.Accept()
	must(t, err)
}

func TestBacklog(t *testing.T) {
	n := simnet.New(simnet.Config{Backlog: 1})
	_, l := listen(t, n)
	_, err := n.Dial(l.Addr().String())
	must(t, err)
	if _, err := n.Dial(l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("Dial = %v, want ECONNREFUSED", err)
	}
}

func TestListenerCloseResetsItsQueue(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	c, err := n.Dial(l.Addr().String())
	must(t, err)
	must(t, p.Remove(l.FD()))
	must(t, l.Close())
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read = %v, want ECONNRESET", err)
	}
	if _, _, err := l.Accept(); err != poller.ErrClosed {
		t.Errorf("Accept = %v, want ErrClosed", err)
	}
	if _, err := n.Dial(l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial = %v, want ECONNREFUSED", err)
	}
}

func TestViolations(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	_, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	if err := p.Add(fd, 3); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("second Add = %v, want EEXIST", err)
	}
	must(t, p.CloseFD(fd))
	_, readErr := n.Read(fd, make([]byte, 1))
	_, writeErr := n.Write(fd, []byte("x"))
	_, detachErr := n.Detach(fd)
	for call, err := range map[string]error{
		"Read": readErr, "Write": writeErr, "Detach": detachErr,
		"CloseFD": p.CloseFD(fd), "Close": n.Close(fd), "Remove": p.Remove(fd), "Add": p.Add(fd, 4),
		"CloseWrite": n.CloseWrite(fd), "SetNoDelay": n.SetNoDelay(fd, true), "wild": n.Close(-1),
	} {
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s = %v, want EBADF", call, err)
		}
	}
	got := n.Violations()
	if len(got) != 11 {
		t.Errorf("%d violations, want 11", len(got))
	}
	for _, v := range got {
		if !strings.Contains(v, "TestViolations") {
			t.Errorf("no stack in %q", v)
		}
	}
}

func TestClosingInAPollerIsAViolation(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	_, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	must(t, n.Close(fd))
	if got := n.Violations(); len(got) != 1 {
		t.Errorf("violations = %q, want one", got)
	}
	drainEvents(t, p)
}

func TestReset(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	c, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	_, err := c.Write([]byte("lost"))
	must(t, err)
	drainEvents(t, p)
	c.Reset()
	wantEvent(t, p, 2, poller.Readable|poller.Writable|poller.Hangup)
	if _, err := n.Read(fd, make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read = %v, want ECONNRESET", err)
	}
	if _, err := n.Read(fd, make([]byte, 8)); err != io.EOF {
		t.Errorf("second Read = %v, want io.EOF", err)
	}
	if _, err := n.Write(fd, []byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write = %v, want EPIPE", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of the client = %v, want net.ErrClosed", err)
	}
	must(t, p.CloseFD(fd))
}

// TestClosingLosesWhatIsUnread holds the two ways in which a careless close
// becomes a reset for the peer.
func TestClosingLosesWhatIsUnread(t *testing.T) {
	tests := map[string]func(c *simnet.Conn, closeServer func()){
		"UnreadAtClose":    func(c *simnet.Conn, closeServer func()) { c.Write([]byte("x")); closeServer() },
		"WrittenAfterward": func(c *simnet.Conn, closeServer func()) { closeServer(); c.Write([]byte("x")) },
	}
	for name, careless := range tests {
		t.Run(name, func(t *testing.T) {
			n := simnet.New(simnet.Config{})
			_, l := listen(t, n)
			c, fd := connect(t, n, l)
			_, err := n.Write(fd, []byte("HTTP/1.1 400 Bad Request"))
			must(t, err)
			careless(c, func() { must(t, n.Close(fd)) })
			if _, err := c.Read(make([]byte, 100)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Read = %v, want ECONNRESET", err)
			}
		})
	}
}

func TestEndBehindBytes(t *testing.T) {
	n := simnet.New(simnet.Config{})
	_, l := listen(t, n)
	c, fd := connect(t, n, l)
	_, err := n.Writev(fd, [][]byte{[]byte("good"), nil, []byte("bye")})
	must(t, err)
	if got := c.Buffered(); got != 7 {
		t.Errorf("Buffered = %d, want 7", got)
	}
	must(t, n.Close(fd))
	if got, err := io.ReadAll(c); string(got) != "goodbye" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestWindow(t *testing.T) {
	n := simnet.New(simnet.Config{SendBuffer: 10, RecvBuffer: 20})
	p, l := listen(t, n)
	c, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	if sent, err := c.TryWrite(make([]byte, 30)); sent != 20 || err != nil {
		t.Errorf("TryWrite = %d, %v, want 20 bytes", sent, err)
	}
	if _, err := c.TryWrite([]byte("x")); err != poller.ErrAgain {
		t.Errorf("TryWrite = %v, want ErrAgain", err)
	}
	if sent, err := n.Write(fd, make([]byte, 30)); sent != 10 || err != nil {
		t.Errorf("Write = %d, %v, want 10 bytes", sent, err)
	}
	if _, err := n.Write(fd, []byte("x")); err != poller.ErrAgain {
		t.Errorf("Write = %v, want ErrAgain", err)
	}
	drainEvents(t, p)
	if got, err := c.TryRead(make([]byte, 4)); got != 4 || err != nil {
		t.Fatalf("TryRead = %d, %v, want 4 bytes", got, err)
	}
	wantEvent(t, p, 2, poller.Writable)
	_, err := c.TryRead(make([]byte, 4))
	must(t, err)
	wantNoEvent(t, p) // nobody was refused since
}

func TestSpuriousAndStaleEvents(t *testing.T) {
	n := simnet.New(simnet.Config{StaleEvents: true})
	p, l := listen(t, n)
	c, fd := connect(t, n, l)
	must(t, p.Add(fd, 2))
	drainEvents(t, p)
	n.Spurious(c)
	n.Spurious(c)
	wantEvent(t, p, 2, poller.Readable|poller.Writable)
	if _, err := n.Read(fd, make([]byte, 1)); err != poller.ErrAgain {
		t.Errorf("Read = %v, want ErrAgain", err)
	}
	must(t, p.CloseFD(fd))
	wantEvent(t, p, 2, poller.Readable)
	wantNoEvent(t, p)
}

func TestWaitEndsByTheNetworksClock(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, err := n.NewPoller()
	must(t, err)
	var waiter sync.WaitGroup
	var ended time.Duration
	waiter.Go(func() {
		if count, err := p.Wait(make([]poller.Event, 1), time.Hour); count != 0 || err != nil {
			t.Errorf("Wait = %d, %v", count, err)
		}
		ended = n.Now()
	})
	if !n.WaitIdle(patience) {
		t.Fatal("Wait does not sleep")
	}
	n.Advance(time.Hour - 1)
	if !n.WaitIdle(patience) {
		t.Fatal("Wait ended before its time")
	}
	n.Advance(1)
	waiter.Wait()
	if ended != time.Hour {
		t.Errorf("Wait ended at %v, want 1h", ended)
	}
}

func TestIdle(t *testing.T) {
	server := newEchoServer(t, simnet.New(simnet.Config{}))
	c := server.dial()
	for range 200 {
		_, err := c.Write([]byte("ping"))
		must(t, err)
		if !server.net.WaitIdle(patience) {
			t.Fatal("the server does not come to rest")
		}
		if got := c.Buffered(); got != 4 {
			t.Fatalf("%d bytes came back before the server was idle, want 4", got)
		}
		_, err = c.TryRead(make([]byte, 4))
		must(t, err)
	}
	must(t, c.Close())
}

func TestIdleTimesOut(t *testing.T) {
	n := simnet.New(simnet.Config{})
	_, err := n.NewPoller() // nobody waits
	must(t, err)
	if n.WaitIdle(time.Millisecond) {
		t.Error("a poller that is not in Wait counts as idle")
	}
}

func TestDeadlines(t *testing.T) {
	n := simnet.New(simnet.Config{SendBuffer: 1, RecvBuffer: 1})
	_, l := listen(t, n)
	c, fd := connect(t, n, l)
	s, err := n.Detach(fd)
	must(t, err)
	for _, end := range []net.Conn{c, s} {
		must(t, end.SetDeadline(time.Now().Add(time.Millisecond)))
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v, want a timeout", err)
		}
		if _, err := end.Write(make([]byte, 2)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v, want a timeout", err)
		}
		must(t, end.SetDeadline(time.Time{}))
	}
	var reader sync.WaitGroup
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	reader.Go(func() { io.ReadAll(c) })
	must(t, c.Close()) // ends the Read
	reader.Wait()
	must(t, s.Close())
	if open := n.OpenFDs(); open != 1 {
		t.Errorf("%d descriptors are open, want the listener's", open)
	}
}

func TestAddresses(t *testing.T) {
	n := simnet.New(simnet.Config{})
	tests := []struct{ network, listen, dial, local string }{
		{"tcp", ":80", "example.test:80", "127.0.0.1:80"},
		{"tcp4", "localhost:81", "127.0.0.1:81", "127.0.0.1:81"},
		{"tcp6", "[::1]:82", "[::1]:82", "[::1]:82"},
		{"unix", "/run/millrace.sock", "/run/millrace.sock", "/run/millrace.sock"},
	}
	remote := netip.MustParseAddrPort("203.0.113.9:1234")
	for _, test := range tests {
		l, err := n.Listen(test.network, test.listen)
		must(t, err)
		c, err := n.DialFrom(remote, test.dial)
		must(t, err)
		if got := c.RemoteAddr().String(); got != test.local {
			t.Errorf("%s: RemoteAddr = %s, want %s", test.listen, got, test.local)
		}
		_, got, err := l.Accept()
		must(t, err)
		if test.network != "unix" && got != remote {
			t.Errorf("%s: Accept gave %s, want %s", test.listen, got, remote)
		}
	}
	for _, bad := range [][2]string{{"udp", ":1"}, {"tcp", "nowhere"}, {"tcp", "a.b:1"}, {"tcp4", "[::1]:1"}, {"tcp", ":80"}} {
		if l, err := n.Listen(bad[0], bad[1]); err == nil {
			t.Errorf("Listen(%q, %q) = %v, want an error", bad[0], bad[1], l.Addr())
		}
	}
}
