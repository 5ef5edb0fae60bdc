package server_test

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestBaselineSimnet opens and closes a hundred thousand connections in all ways:
// nothing of them is left.
func TestBaselineSimnet(t *testing.T) {
	n, addr, srv := startSim(t, simnet.Config{}, nil)
	life := func(i int) {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		liveAndDie(t, conn, i, conn.Reset)
	}
	testBaseline(t, srv, scaled(100_000), life)
	if n.OpenFDs() != 1 {
		t.Errorf("%d descriptors are open, want the listener's", n.OpenFDs())
	}
}

// TestBaselineSockets is the same with twenty thousand real sockets.
func TestBaselineSockets(t *testing.T) {
	addr, srv := startServer(t, nil)
	life := func(i int) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		tcp := conn.(*net.TCPConn)
		if err := tcp.SetLinger(0); err != nil { // no TIME_WAIT: ports are for others, too
			t.Fatal(err)
		}
		liveAndDie(t, conn, i, func() { _ = conn.Close() })
	}
	life(0)
	before := descriptors(t)
	testBaseline(t, srv, scaled(20_000), life)
	eventually(t, "the descriptors are closed", func() bool { return descriptors(t) <= before+2 })
}

// descriptors is how many the process has open, 0 where that can not be told.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func testBaseline(t *testing.T, srv *server.Server, times int, life func(i int)) {
	t.Helper()
	for i := range partly(1000) {
		life(i) // fills the pools
	}
	settled := func() bool { return srv.Stats().Open == 0 }
	eventually(t, "none is open", settled)
	goroutines, heap := runtime.NumGoroutine(), liveHeap()
	for i := range times {
		life(i)
	}
	eventually(t, "none is open", settled)
	// The watchdog may have added workers to the standby.
	if got := runtime.NumGoroutine(); got > goroutines+10 {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	if grown := int64(liveHeap()) - int64(heap); grown > 2<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if got := srv.Stats(); got.Upgraded < uint64(times/4) || got.Panics != 0 {
		t.Errorf("%+v", got)
	}
}

// liveAndDie lives a connection's life and ends it in one of several ways.
func liveAndDie(t *testing.T, conn net.Conn, i int, reset func()) {
	t.Helper()
	defer func() { _ = conn.Close() }() // some are closed already
	if i%8 == 0 {
		return // it never says a word
	}
	text := upgradeRequest()
	switch i % 8 {
	case 1:
		text = text[:len(text)/2]
	case 2:
		text = "GET / HTTP/1.1\r\n\r\n"
	case 3, 4:
		text += frame(opText, "message") + frame(opClose, closePayload(1000, ""))
	case 5:
		text += frame(opText, "half a frame")[:8]
	case 6:
		text += rawFrame(0xf2, "bad") + frame(opClose, closePayload(1002, ""))
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	switch i % 8 {
	case 1, 5, 7:
		reset()
	default:
		if _, err := io.Copy(io.Discard, conn); err != nil && i%8 != 6 {
			t.Fatalf("life %d: %v", i%8, err)
		}
	}
}
