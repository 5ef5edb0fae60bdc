package server_test

import (
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestGroupShedPrefix: who is closed for want of memory has had a group's messages up to one of them, and none
// behind that, though others are sent while its queue goes.
func TestGroupShedPrefix(t *testing.T) {
	for round := range 25 {
		t.Run(strconv.Itoa(round), testGroupShedPrefix)
	}
}

func testGroupShedPrefix(t *testing.T) {
	opens := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 4000, RecvBuffer: 4000}, func(srv *server.Server) {
		srv.Handler, srv.Queue.Max, srv.Queue.HighWater, srv.Limits.QueueMemory = opened(opens), 4<<20, 1<<20, 4<<20
		srv.Keepalive.Interval = -1
	})
	g := srv.NewGroup(server.GroupOptions{})
	const members = 6
	var clients [members]*client
	var conns [members]*server.Conn
	for i := range clients {
		clients[i] = dialSim(t, n, addr).upgraded()
		conns[i] = <-opens
		if _, err := g.Join(conns[i]); err != nil {
			t.Fatal(err)
		}
	}
	pad := strings.Repeat("x", 300)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	senders.Go(func() {
		for i := 1; ; {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := g.Send(ws.Prepare(ws.Text, []byte(strconv.Itoa(i)+" "+pad))); err == nil {
				i++
			} else {
				time.Sleep(time.Millisecond) // the loops are behind
			}
		}
	})
	for srv.Stats().Limits[server.LimitQueueMemory] < 2 {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	senders.Wait()
	idle(t, n)
	for i, c := range clients {
		if g.Has(conns[i]) {
			continue
		}
		for want := 1; ; want++ {
			head := make([]byte, 4) // of a message of more than 125 bytes
			if _, err := io.ReadFull(c.r, head); err != nil || head[0] != fin|opText {
				break // it was cut, or has its close frame
			}
			text := make([]byte, binary.BigEndian.Uint16(head[2:]))
			if _, err := io.ReadFull(c.r, text); err != nil {
				break
			}
			if number, _, _ := strings.Cut(string(text), " "); number != strconv.Itoa(want) {
				t.Fatalf("client %d got message %s behind %d", i, number, want-1)
			}
		}
	}
}
