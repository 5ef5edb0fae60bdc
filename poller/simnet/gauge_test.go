package simnet_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
)

// wantGauges checks what the network tells of a descriptor.
func wantGauges(t *testing.T, n *simnet.Network, fd, unacked, unread int) {
	t.Helper()
	if got, err := n.Unacked(fd); got != unacked || err != nil {
		t.Errorf("Unacked = %d, %v, want %d", got, err, unacked)
	}
	if got, err := n.Unread(fd); got != unread || err != nil {
		t.Errorf("Unread = %d, %v, want %d", got, err, unread)
	}
}

func TestAckOnReadOfAConnection(t *testing.T) {
	n := simnet.New(simnet.Config{})
	_, l := listen(t, n)
	c, fd := connect(t, n, l)
	_, other := connect(t, n, l)
	for _, fd := range []int{fd, other} {
		_, err := n.Write(fd, []byte("hello"))
		must(t, err)
	}
	_, err := c.TryWrite([]byte("abc"))
	must(t, err)
	wantGauges(t, n, fd, 0, 3)
	c.AckOnRead(true)
	wantGauges(t, n, fd, 5, 3)
	wantGauges(t, n, other, 0, 0)
	_, err = c.TryRead(make([]byte, 2))
	must(t, err)
	wantGauges(t, n, fd, 3, 3)
	must(t, n.CloseWrite(fd))
	wantGauges(t, n, fd, 3, 3)
	c.AckOnRead(false)
	wantGauges(t, n, fd, 0, 3)
	c.AckOnRead(true)
	c.Reset()
	wantGauges(t, n, fd, 0, 0)
}

// TestAckOnReadOfAClient: both ends go by the other's reads.
func TestAckOnReadOfAClient(t *testing.T) {
	n := simnet.New(simnet.Config{AckOnRead: true})
	_, l := listen(t, n)
	client, err := n.Connect(netip.Addr{}, netip.MustParseAddrPort(l.Addr().String()))
	must(t, err)
	_, err = n.Write(client, []byte("hello")) // before anybody accepts
	must(t, err)
	wantGauges(t, n, client, 5, 0)
	server, _, err := l.Accept()
	must(t, err)
	wantGauges(t, n, server, 0, 5)
	_, err = n.Read(server, make([]byte, 4))
	must(t, err)
	wantGauges(t, n, client, 1, 0)
	wantGauges(t, n, server, 0, 1)
}

func TestGaugesOfAClosedDescriptor(t *testing.T) {
	n := simnet.New(simnet.Config{AckOnRead: true})
	_, l := listen(t, n)
	_, fd := connect(t, n, l)
	must(t, n.Close(fd))
	for call, gauge := range map[string]func(int) (int, error){"Unacked": n.Unacked, "Unread": n.Unread} {
		if _, err := gauge(fd); !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s of a closed descriptor: %v, want EBADF", call, err)
		}
	}
	if noted := n.Violations(); len(noted) != 2 {
		t.Errorf("violations: %q, want 2", noted)
	}
}
