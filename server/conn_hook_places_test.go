package server_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestHooksLeaveEachLoopALeader: hooks that block leave a worker to each loop.
func TestHooksLeaveEachLoopALeader(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}, 100), make(chan struct{})
	connect, _ := onSockets(t, func(s *server.Server) {
		s.Runtime.Loops, s.Runtime.Workers = 4, 6
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/slow" {
				held <- struct{}{}
				<-release
			}
			return server.Accept{}, nil
		}
	})
	defer close(release)
	var open []*client
	for range 16 { // on all loops
		open = append(open, connect().upgraded())
	}
	for range 16 {
		connect().send(upgradeTo("/slow"))
	}
	<-held
	<-held
	time.Sleep(100 * time.Millisecond)
	stuck := 0
	for _, c := range open {
		_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		c.send(frame(opText, "a"))
		if _, err := c.Conn.Read(make([]byte, 3)); err != nil {
			stuck++
		}
	}
	if stuck > 0 {
		t.Errorf("%d of %d open connections are not served", stuck, len(open))
	}
}
