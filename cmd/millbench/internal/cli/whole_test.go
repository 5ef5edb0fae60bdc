package cli_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/internal/report"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// echo is a handler that sends each message back.
type echo struct{}

func (echo) Open(*server.Conn)                    {}
func (echo) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // a lost peer is the client's to notice
func (echo) Close(*server.Conn, error)            {}

// serve gives the address of an echo server that lasts as long as the test.
func serve(t *testing.T) string {
	t.Helper()
	srv := &server.Server{Handler: echo{}}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close() // always nil
		<-served
	})
	return ln.Addr().String()
}

// TestWhole runs the real thing against a server.
func TestWhole(t *testing.T) {
	s := newStage()
	s.app.Run = bench.RunWatched
	s.expect(t, 0, []string{"echo", "-c", "5", "--size", "10-100", "--warmup", "off", "--duration", "300ms",
		"ws://" + serve(t) + "/", "--json", "-", "--fail-if", "errors>0"}, "5 connections", "round trip")
	r, err := report.ReadJSON(&s.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count == 0 || r.Opened != 5 || r.Plan.MaxSize != 100 {
		t.Errorf("result %+v, want messages of 5 connections", r)
	}
	if r.Server != nil && r.Server.PID != os.Getpid() {
		t.Errorf("the server's process is %d, want %d", r.Server.PID, os.Getpid())
	}
}

// TestWholeRefused: nobody listens.
func TestWholeRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + ln.Addr().String() + "/"
	_ = ln.Close()
	s := newStage()
	s.app.Run = bench.RunWatched
	s.expect(t, 1, []string{"echo", "-c", "5", url}, "nothing was measured")
	if !strings.Contains(s.stdout.String(), "5 x connect: connection refused") {
		t.Errorf("summary\n%s", s.stdout.String())
	}
	s.expect(t, 2, []string{"echo", "-c", "5", "http://127.0.0.1/"}, "millbench echo: --url: ", "ws://")
}
