package server_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// switching is an answer to an upgrade request.
const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: " + acceptKey + "\r\n\r\n"

// mirror is a loop that keeps nothing of a connection.
type mirror struct {
	network *simnet.Network
	poll    poller.Poller
	ln      poller.Listener
	shorter int // an answer than the question
	buf     []byte
	events  []poller.Event
	stop    atomic.Bool
}

// serveNothing answers upgrade requests without a look at them, and then sends
// back what it reads.
func serveNothing(tb testing.TB, n *simnet.Network) (addr net.Addr, stop func()) {
	return serveShortened(tb, n, 0)
}

// serveShortened is serveNothing with the first bytes of what it reads left out:
// a frame without its mask is shorter.
func serveShortened(tb testing.TB, n *simnet.Network, by int) (addr net.Addr, stop func()) {
	m := &mirror{network: n, shorter: by, buf: make([]byte, 128<<10), events: make([]poller.Event, 512)}
	var err error
	if m.poll, err = n.NewPoller(); err != nil {
		tb.Fatal(err)
	}
	if m.ln, err = n.Listen("tcp", "127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	if err = m.poll.Add(m.ln.FD(), poller.Token(m.ln.FD())); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- m.run() }()
	stop = sync.OnceFunc(func() {
		m.stop.Store(true)
		m.poll.Wake()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return m.ln.Addr(), stop
}

func (m *mirror) run() error {
	for !m.stop.Load() {
		n, err := m.poll.Wait(m.events, -1)
		for _, e := range m.events[:n] {
			if fd := int(e.Token); fd == m.ln.FD() {
				err = errors.Join(err, m.accept())
			} else {
				err = errors.Join(err, m.reply(fd))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *mirror) accept() error {
	for {
		fd, _, err := m.ln.Accept()
		if err == poller.ErrAgain {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.poll.Add(fd, poller.Token(fd)); err != nil {
			return err
		}
	}
}

func (m *mirror) reply(fd int) error {
	n, err := m.network.Read(fd, m.buf)
	switch {
	case err == poller.ErrAgain:
		return nil
	case err == io.EOF:
		return m.poll.CloseFD(fd)
	case err != nil:
		return err
	case bytes.HasPrefix(m.buf[:n], []byte("GET ")):
		n = copy(m.buf, switching)
		_, err = m.network.Write(fd, m.buf[:n])
	default:
		_, err = m.network.Write(fd, m.buf[m.shorter:n])
	}
	return err
}
