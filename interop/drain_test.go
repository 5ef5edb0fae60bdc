package interop_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// drainClients is how many connections a script opens.
const drainClients = 50

// TestDrainPython and TestDrainNode: each client of libraries that are not ours
// sees the close code and reason of a drain, and a clean end.
func TestDrainPython(t *testing.T) {
	needPython(t)
	testDrain(t, python, "python/drain.py")
}

func TestDrainNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node: install Node.js")
	}
	if _, err := os.Stat("node/node_modules/ws"); err != nil {
		t.Skip("no npm package ws: run npm ci in interop/node")
	}
	testDrain(t, node, "node/drain.js")
}

func testDrain(t *testing.T, command ...string) {
	for code, want := range map[ws.Code]string{ws.CodeGoingAway: "1001 back soon clean", ws.CodeServiceRestart: "1012 back soon clean"} {
		p := startPeer(t)
		drained := make(chan error, 1)
		go func() {
			for p.srv.Stats().Upgraded < drainClients && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			drained <- p.srv.Drain(context.Background(), server.DrainOptions{Rate: 500, Timeout: patience, Code: code, Reason: "back soon"})
		}()
		printed := script(t, append(command, p.url)...)
		if got := strings.Count(printed, want+"\n"); got != drainClients {
			t.Errorf("%d clients saw %q, want %d:\n%s", got, want, drainClients, printed)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if got := p.srv.DrainProgress(); got.Closed != drainClients || got.Cut != 0 {
			t.Errorf("%+v, want %d closed", got, drainClients)
		}
	}
}
