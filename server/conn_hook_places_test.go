package server_test

import (
	"context"
	"net"
	"runtime"
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

// TestRunLeavesNothing: what Run has started ends with it, also if it could not serve.
func TestRunLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := runtime.NumGoroutine()
	srv := &server.Server{Handler: echo{}, Addr: taken.Addr().String()}
	if err := srv.Run(context.Background(), server.DrainOptions{}); err == nil {
		t.Fatal("it served")
	}
	for end := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines are left", n-before)
	}
}
