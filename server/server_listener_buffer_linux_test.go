package server_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestListenerSendBuffer: connections inherit the send buffer of a listener that
// ServeListener is given, as docs/handlers.md says for slow clients: what a client does
// not read waits in the queue sooner.
func TestListenerSendBuffer(t *testing.T) {
	t.Parallel()
	if small, large := takenBySystem(t, 16<<10), takenBySystem(t, 200<<10); small >= large {
		t.Errorf("%d bytes taken with a small send buffer, %d with a large one", small, large)
	}
}

// takenBySystem is how many bytes the system takes for a client that reads nothing, before
// any wait in the connection's queue.
func takenBySystem(t *testing.T, buffer int) (bytes int) {
	t.Helper()
	conns := make(chan *server.Conn, 1)
	srv := &server.Server{Handler: handler{open: func(c *server.Conn) { conns <- c }}}
	connect, _ := door{listen: func(t *testing.T) net.Listener {
		config := net.ListenConfig{Control: func(_, _ string, listener syscall.RawConn) (err error) {
			failed := listener.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, buffer)
			})
			return errors.Join(err, failed)
		}}
		ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}}.open(t, srv)
	c := connect().upgraded()
	conn := <-conns
	for ; conn.Buffered() == 0; bytes += 1000 {
		if err := conn.Send(ws.Binary, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close() // the server sees the end
	return bytes
}
