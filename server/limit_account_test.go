package server_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestBacklogAccount has connections queue, drain, overflow, be pinged, reset and
// closed at random on a network that writes in part: the account is never below
// zero, and nothing is left of it in the end.
func TestBacklogAccount(t *testing.T) {
	t.Parallel()
	for _, policy := range []server.QueuePolicy{server.CloseWhenFull, server.DropNewest} {
		conns := make(chan *server.Conn, 1)
		n, addr, srv := startSim(t, simnet.Config{SendBuffer: 700}, func(srv *server.Server) {
			srv.Queue.Policy, srv.Queue.Max, srv.Limits.QueueMemory = policy, 30_000, 1<<20
			srv.Handler = opened(conns)
		})
		var all sync.WaitGroup
		for worker := range 4 {
			seed := rand.New(rand.NewPCG(uint64(worker), 1))
			var mine []*client
			var theirs []*server.Conn
			for range 10 {
				mine = append(mine, dialSim(t, n, addr).upgraded())
				theirs = append(theirs, <-conns)
			}
			all.Go(func() {
				for range scaled(20_000) {
					i := seed.IntN(len(mine))
					live(seed, mine[i], theirs[i])
					if got := srv.Stats().Backlog; got < 0 {
						t.Errorf("%d bytes are waiting", got)
						return
					}
				}
			})
		}
		all.Wait()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if got := srv.Stats(); got.Backlog != 0 || got.Queues != 0 {
			t.Errorf("%d bytes in %d queues are left", got.Backlog, got.Queues)
		}
	}
}

// live does something to a connection, which may be over.
func live(seed *rand.Rand, mine *client, theirs *server.Conn) {
	switch seed.IntN(300) {
	case 0:
		mine.reset()
	case 1:
		_ = theirs.Close(ws.CodeNormal, "")
	case 2:
		_ = mine.Close()
	default:
		switch seed.IntN(4) {
		case 0:
			_ = theirs.Send(ws.Binary, make([]byte, seed.IntN(9000)))
		case 1:
			_, _ = mine.Conn.(*simnet.Conn).TryWrite([]byte(frame(opPing, "?")))
		default:
			_, _ = mine.Conn.(*simnet.Conn).TryRead(make([]byte, seed.IntN(2000)+1))
		}
	}
}

// TestInboundAccount: unfinished heads, messages, compressed ones and what a paused
// connection has read are in the account as long as they are held, and not longer.
func TestInboundAccount(t *testing.T) {
	t.Parallel()
	conns := make(chan *server.Conn, 1)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Deflate = &server.Deflate{}
		s.Handler = opened(conns)
	})
	inbound := func(want int64) {
		t.Helper()
		idle(t, n)
		eventually(t, fmt.Sprintf("about %d bytes are accounted for", want), func() bool {
			got := srv.Stats().Inbound
			return got >= want && got <= 2*want+2048
		})
	}
	head := dialSim(t, n, addr)
	head.send(upgradeRequest()[:100])
	inbound(100)
	head.send(upgradeRequest()[100:])
	head.expectSwitch()
	inbound(0)
	head.send(half(50_000, 20_000))
	inbound(20_000)
	infos, err := srv.Conns(t.Context(), server.ByInbound, 1)
	if err != nil || len(infos) != 1 || infos[0].Inbound < 20_000 {
		t.Errorf("%+v, %v, want one with 20,000 bytes", infos, err)
	}
	head.send(half(50_000, 50_008)[20_000:])
	inbound(0)
	conn := <-conns
	conn.PauseReading()
	head.send(strings.Repeat(frame(opText, "x"), 1000))
	inbound(0) // they are not read
	conn.ResumeReading()
	inbound(0)
	deflating := dialSim(t, n, addr)
	deflating.send(upgradeRequest("Sec-WebSocket-Extensions: permessage-deflate"))
	deflating.response()
	noise := strings.Repeat("incompressible?", 1000)
	deflating.send(rawFrame(0x40|opText, noise)) // not its last frame
	inbound(15_000)
	deflating.reset()
	head.reset()
	eventually(t, "nothing is accounted for", func() bool { return srv.Stats().Inbound == 0 })
}
