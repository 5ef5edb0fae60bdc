package peers_test

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// buildFloor compiles the floor into a folder.
func buildFloor(t *testing.T, folder string) rival {
	t.Helper()
	floor := rival{name: "floor", can: "echo, broadcast", command: []string{filepath.Join(folder, "floor")}}
	if _, err := exec.LookPath("cc"); err != nil {
		floor.lacking = "no cc: install a C compiler"
	} else if runtime.GOOS != "linux" {
		floor.lacking = "the floor is for Linux: it needs epoll"
	} else {
		run(t, "cc", "-O3", "-march=native", "-Wall", "-Werror", "-o", floor.command[0], "floor/floor.c", "-lpthread")
	}
	return floor
}

// TestFloorAll: with "all" each message goes to every connection, and what is one
// connection's alone goes to that one.
func TestFloorAll(t *testing.T) {
	floor := buildFloor(t, t.TempDir())
	if floor.lacking != "" {
		t.Skip(floor.lacking)
	}
	to := floor.start(t, "1", "all")
	var all []client
	for range 3 {
		c := connect(t, to)
		c.SetPongHandler(func(string) error { t.Error("a pong that nobody asked for"); return nil })
		all = append(all, c)
	}
	ponged := false
	all[1].SetPongHandler(func(payload string) error { ponged = payload == "here?"; return nil })
	if err := all[1].WriteControl(websocket.PingMessage, []byte("here?"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{5, 70_000, 0} {
		all[1].send(t, websocket.BinaryMessage, content(n))
		for _, c := range all {
			c.expect(t, websocket.BinaryMessage, content(n))
		}
		if i == 0 && !ponged {
			t.Error("no pong before the message behind the ping")
		}
	}

	testClose(t, to) // of a fourth one
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	all[2].send(t, websocket.TextMessage, content(300))
	for _, c := range all[1:] {
		c.expect(t, websocket.TextMessage, content(300))
	}
}

// TestFloorPort: the port alone stands for all addresses of it, and threads share
// the connections.
func TestFloorPort(t *testing.T) {
	floor := buildFloor(t, t.TempDir())
	if floor.lacking != "" {
		t.Skip(floor.lacking)
	}
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	to := floor.startWith(t, "0.0.0.0:"+port, port, "2")
	for range 8 {
		c := connect(t, to)
		c.send(t, websocket.TextMessage, content(100))
		c.expect(t, websocket.TextMessage, content(100))
	}
}

// TestFloorMisuse: a wrong command line is told and not taken for something else.
func TestFloorMisuse(t *testing.T) {
	floor := buildFloor(t, t.TempDir())
	if floor.lacking != "" {
		t.Skip(floor.lacking)
	}
	for _, args := range [][]string{nil, {"--listen"}, {"--listen", "nowhere"}, {"--listen", "localhost.:1"}, {"1", "0"}, {"1", "1", "most"}, {"1", "1", "all", "more"}} {
		out, err := exec.Command(floor.command[0], args...).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("floor %q: %v, %q; want exit status 2 and a line", args, err, out)
		}
	}
}
