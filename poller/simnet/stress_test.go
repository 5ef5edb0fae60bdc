package simnet_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// TestChurn opens, resets, leaves and finishes connections from many goroutines
// at once, so that numbers are reused under way. Each payload has its
// connection's name in it.
func TestChurn(t *testing.T) {
	server := newEchoServer(t, simnet.New(simnet.Config{Script: simnet.Chop(3), StaleEvents: true}))
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for round := range 60 {
				c := server.dial()
				churn(t, server, c, round, []byte(fmt.Sprintf("client %d round %d", i, round)))
			}
		})
	}
	clients.Wait()
}

func churn(t *testing.T, server *echoServer, c *simnet.Conn, round int, payload []byte) {
	if _, err := c.Write(payload); err != nil {
		t.Errorf("Write: %v", err)
	}
	switch round % 4 {
	case 0:
		c.Reset()
		return
	case 1:
		c.Close()
		return
	case 2:
		server.net.Spurious(c)
	}
	got := make([]byte, len(payload))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("read %q, %v, want %q", got, err, payload)
	}
	c.Close()
}

// TestTwoLoops has two loops, on one network, whose clients are each other's
// neighbours in the descriptor table.
func TestTwoLoops(t *testing.T) {
	n := simnet.New(simnet.Config{RealClock: true})
	for i := range 2 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			p, l := listen(t, n)
			c, fd := connect(t, n, l)
			must(t, p.Add(fd, 2))
			trip := newTrip(t, n, p, c, fd, 100)
			for range 2000 {
				trip()
			}
		})
	}
}

// TestReadyListIsBounded adds and removes one ready descriptor again and again
// without a Wait; the list must not keep them all.
func TestReadyListIsBounded(t *testing.T) {
	const rounds = 100_000
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	_, fd := connect(t, n, l)
	before := heap()
	for i := range rounds {
		must(t, p.Add(fd, poller.Token(i)))
		must(t, p.Remove(fd))
	}
	if grown := int64(heap()) - int64(before); grown > rounds {
		t.Errorf("the poller grew by %d bytes", grown)
	}
	must(t, p.Add(fd, rounds))
	events := make([]poller.Event, 8)
	count, err := p.Wait(events, 0)
	must(t, err)
	for _, e := range events[:count] {
		if e.Token != rounds && e.Token != listenerToken {
			t.Errorf("an event with the old token %d", e.Token)
		}
	}
}
