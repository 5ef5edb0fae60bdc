package server_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

func conns(t testing.TB, srv *server.Server, by server.ConnOrder, most int) []server.ConnInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	infos, err := srv.Conns(ctx, by, most)
	if err != nil {
		t.Fatalf("Conns: %v", err)
	}
	return infos
}

// TestConnsSortedAsAsked: each order gives the first few of all loops, with what is
// known of them.
func TestConnsSortedAsAsked(t *testing.T) {
	t.Parallel()
	opened := make(chan *server.Conn, 10)
	n, addr, srv := startSim(t, simnet.Config{SendBuffer: 4 << 10, RecvBuffer: 4 << 10}, func(s *server.Server) {
		s.Runtime.Loops, s.Keepalive.Interval, s.Subprotocols = 3, -1, []string{"chat"}
		s.Handler = handler{open: func(c *server.Conn) { opened <- c }}
	})
	var clients []*client
	for i := range 9 {
		c := dialSim(t, n, addr)
		c.upgraded("Sec-WebSocket-Protocol: chat")
		clients = append(clients, c)
		conn := <-opened
		idle(t, n)
		n.Advance(time.Second)
		c.send(frame(opBinary, strings.Repeat("x", 1000*((i*4)%9))))         // 0 4 8 3 7 2 6 1 5
		waits := strings.Repeat("y", 16<<10+1000*((i*2)%9))                  // 0 2 4 6 8 1 3 5 7
		if err := conn.Send(ws.Binary, []byte(waits)); err != nil && i > 0 { // nobody reads it
			t.Fatal(err)
		}
	}
	silent := dialSim(t, n, addr) // it comes last in any order
	idle(t, n)
	for _, tt := range []struct {
		by   server.ConnOrder
		want []int
	}{
		{server.ByAge, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{server.ByQueue, []int{4, 8, 3, 7, 2, 6, 1, 5, 0}},
	} {
		for _, most := range []int{0, 1, 4, 9, 10, 5000} {
			infos := conns(t, srv, tt.by, most)
			if len(infos) != min(most, 10) {
				t.Fatalf("order %d: %d of at most %d", tt.by, len(infos), most)
			}
			for i, info := range infos[:min(most, 9)] {
				if want := clients[tt.want[i]].LocalAddr().String(); info.Remote.String() != want {
					t.Errorf("order %d: %v is on place %d of %d, want %s", tt.by, info.Remote, i, most, want)
				}
			}
		}
	}
	bytes := conns(t, srv, server.ByBytes, 10)
	for i, info := range bytes[:9] {
		if next := bytes[i+1]; info.BytesIn+info.BytesOut < next.BytesIn+next.BytesOut {
			t.Errorf("%d bytes stand before %d", info.BytesIn+info.BytesOut, next.BytesIn+next.BytesOut)
		}
	}
	oldest, last := conns(t, srv, server.ByAge, 10)[0], bytes[9]
	if oldest.State != "open" || oldest.Age != 9*time.Second || oldest.Silent != 8*time.Second || oldest.Subprotocol != "chat" ||
		oldest.MessagesIn != 1 || oldest.Queued == 0 || oldest.Blocked || oldest.RTT != 0 {
		t.Errorf("the oldest is %+v", oldest)
	}
	if last.State != "handshake" || last.Remote.String() != silent.LocalAddr().String() || last.Stats != (server.Stats{}) {
		t.Errorf("the silent one is %+v", last)
	}
}

// TestConnsOfMany: more connections than a visit looks at, and than are given.
func TestConnsOfMany(t *testing.T) {
	t.Parallel()
	const many = 5000
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Runtime.Loops = 1 })
	for i := range many {
		if i == 1000 {
			idle(t, n)
			n.Advance(time.Second)
		}
		dialSim(t, n, addr)
	}
	eventually(t, "all are accepted", func() bool { return srv.Stats().Open == many })
	idle(t, n)
	infos := conns(t, srv, server.ByAge, many)
	if len(infos) != server.MaxListed {
		t.Fatalf("%d connections, want %d", len(infos), server.MaxListed)
	}
	ids := map[server.ConnID]bool{}
	for _, info := range infos {
		ids[info.ID] = true
		if info.Age != time.Second {
			t.Fatalf("one of the oldest has an age of %v", info.Age)
		}
	}
	if len(ids) != len(infos) {
		t.Errorf("%d ids of %d connections", len(ids), len(infos))
	}
}

// TestCloseConn: an open connection gets the code and the reason, any other one is
// cut; an id names nobody else afterwards.
func TestCloseConn(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Runtime.Loops, s.Handler = 2, r })
	only := func() server.ConnID {
		t.Helper()
		idle(t, n)
		infos := conns(t, srv, server.ByAge, 10)
		if len(infos) != 1 {
			t.Fatalf("%d connections", len(infos))
		}
		return infos[0].ID
	}
	c := dialSim(t, n, addr).upgraded()
	r.expect("open")
	id := only()
	if again, err := server.ParseConnID(id.String()); again != id || err != nil {
		t.Errorf("id %v is read as %v, %v", id, again, err)
	}
	if err := srv.CloseConn(t.Context(), id, 1005+1, ""); err == nil || errors.Is(err, server.ErrNoConn) {
		t.Errorf("closing with 1006: %v", err)
	}
	if err := srv.CloseConn(t.Context(), id, 4001, "go"); err != nil {
		t.Fatal(err)
	}
	if op, payload := c.frame(); op != opClose || payload != closePayload(4001, "go") {
		t.Errorf("frame %x %q", op, payload)
	}
	if err := srv.CloseConn(t.Context(), only(), 4001, "again"); err != nil { // its answer is not awaited
		t.Fatal(err)
	}
	c.expectEnd()
	r.expect("close 4001 ours")
	silent := dialSim(t, n, addr)
	other := only()
	if other == id {
		t.Errorf("two connections have the id %v", id)
	}
	if err := srv.CloseConn(t.Context(), id, 4001, ""); !errors.Is(err, server.ErrNoConn) {
		t.Errorf("closing one that is gone: %v", err)
	}
	if err := srv.CloseConn(t.Context(), other, ws.CodeNormal, ""); err != nil {
		t.Fatal(err)
	}
	silent.expectEnd()
	r.expectNone()
	own, _, _ := strings.Cut(id.String(), ".")
	for _, text := range []string{own + ".2.0.0", own + ".0.9999999.0", own + ".0.0.2147483648", own + ".0.0.4294967295", "0123456789abcdef.0.0.0"} {
		id, err := server.ParseConnID(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.CloseConn(t.Context(), id, ws.CodeNormal, ""); !errors.Is(err, server.ErrNoConn) {
			t.Errorf("closing %s: %v", text, err)
		}
	}
}

// TestConnsOfAStalledLoop: who asks waits no longer than the context; the rest of
// the server's life does not wait for who has asked.
func TestConnsOfAStalledLoop(t *testing.T) {
	t.Parallel()
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Handler = onlyMessage(func(_ *server.Conn, m ws.Message) { s.hold(m) })
	})
	a, b := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	id := conns(t, srv, server.ByAge, 1)[0].ID
	s.stall(a, b)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if infos, err := srv.Conns(ctx, server.ByRTT, 10); !errors.Is(err, context.Canceled) || len(infos) != 0 {
		t.Errorf("Conns: %v, %v", infos, err)
	}
	if err := srv.CloseConn(ctx, id, ws.CodeNormal, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("CloseConn: %v", err)
	}
	close(s.release)
	eventually(t, "both are seen again", func() bool {
		infos := conns(t, srv, server.ByAge, 10)
		return len(infos) == 2 && !infos[0].Blocked && !infos[1].Blocked
	})
}

// TestConnsBlocked: a connection whose handler has lost the loop is told as such.
func TestConnsBlocked(t *testing.T) {
	t.Parallel()
	s := newStaller()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Runtime.Loops = 1
		srv.Handler = onlyMessage(func(_ *server.Conn, m ws.Message) { s.hold(m) })
	})
	c := dialSim(t, n, addr).upgraded()
	c.send(frame(opText, "hold"))
	<-s.held
	eventually(t, "it is told", func() bool { return conns(t, srv, server.ByAge, 1)[0].Blocked })
	close(s.release)
}

// TestConnsRTT: on a kernel that tells, the way to a peer has a length.
func TestConnsRTT(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, nil)
	c := dial(t, addr).upgraded()
	c.send(frame(opText, "x"))
	c.expect(opText, "x")
	engine, err := poller.New("")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := engine.(poller.Meter); !ok {
		t.Skip("this system's engine is no poller.Meter")
	}
	for _, by := range []server.ConnOrder{server.ByRTT, server.ByAge} {
		if infos := conns(t, srv, by, 10); len(infos) != 1 || infos[0].RTT <= 0 {
			t.Errorf("order %d: %+v", by, infos)
		}
	}
}

// TestConnsBesideLife looks at connections, and closes some, while they come,
// talk and go, and while the server stops.
func TestConnsBesideLife(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) { s.Runtime.Loops = 2 })
	stop := make(chan struct{})
	var all sync.WaitGroup
	for by := range server.ByRTT + 1 {
		all.Go(func() {
			for {
				infos, err := srv.Conns(t.Context(), by, 20)
				if err != nil {
					t.Error(err)
				}
				for _, info := range infos[:len(infos)/4] {
					err := srv.CloseConn(t.Context(), info.ID, ws.CodeGoingAway, "chosen")
					if err != nil && !errors.Is(err, server.ErrNoConn) {
						t.Error(err)
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var peers sync.WaitGroup
	for range 8 {
		peers.Go(func() {
			for range 50 {
				conn, err := n.Dial(addr)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = conn.Write([]byte(upgradeRequest() + frame(opText, "x"))) // it may be closed at any time
				_, _ = conn.Read(make([]byte, 1000))
				_ = conn.Close()
			}
		})
	}
	peers.Wait()
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if infos := conns(t, srv, server.ByAge, 10); len(infos) != 0 {
		t.Errorf("%d connections after the end", len(infos))
	}
	close(stop)
	all.Wait()
}

func TestConnsBeforeStart(t *testing.T) {
	srv := &server.Server{}
	if infos, err := srv.Conns(t.Context(), server.ByAge, 10); infos != nil || err != nil {
		t.Errorf("Conns: %v, %v", infos, err)
	}
	if err := srv.CloseConn(t.Context(), server.ConnID{}, ws.CodeNormal, ""); !errors.Is(err, server.ErrNoConn) {
		t.Errorf("CloseConn: %v", err)
	}
}

// FuzzParseConnID: what is read is written the same; all else is an error.
func FuzzParseConnID(f *testing.F) {
	for _, text := range []string{
		"0.0.0", "3.4294967295.2147483647", "", "..", "1.2", "1.2.3.4", "+1.2.3", "01.2.3", "-1.0.0", "4294967296.0.0", "a.b.c",
	} {
		f.Add(text)
		f.Add("0123456789abcdef." + text)
		f.Add("0123456789ABCDEF." + text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := server.ParseConnID(text)
		if err == nil && id.String() != text {
			t.Errorf("%q is read as %v", text, id)
		}
	})
}

// TestConnsTransport: what carries a connection is told, and what it agreed upon.
func TestConnsTransport(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, func(s *server.Server) { s.Deflate = &server.Deflate{} })
	dial(t, addr).upgraded()
	if infos := conns(t, srv, server.ByAge, 10); infos[0].Transport != "plain" || infos[0].Deflate {
		t.Errorf("plain, nothing agreed upon: %+v", infos[0])
	}
	c := dial(t, addr)
	c.send(upgradeRequest("Sec-WebSocket-Extensions: permessage-deflate"))
	c.response()
	if infos := conns(t, srv, server.ByAge, 10); len(infos) != 2 || !infos[0].Deflate && !infos[1].Deflate {
		t.Errorf("one is compressed: %+v", infos)
	}
	addr, srv = startTLS(t, nil)
	dialTLS(t, addr).upgraded()
	if infos := conns(t, srv, server.ByRTT, 10); infos[0].Transport != "tls" {
		t.Errorf("with TLS: %+v", infos[0])
	}
	addr, srv = startBridge(t, nil)
	dial(t, addr).upgraded()
	if infos := conns(t, srv, server.ByRTT, 10); infos[0].Transport != "bridge" || infos[0].RTT != 0 {
		t.Errorf("bridged: %+v", infos[0])
	}
}
