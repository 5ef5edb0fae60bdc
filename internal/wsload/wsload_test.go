package wsload_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/wsload"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// build compiles wsload, or skips the test and says why it can not.
func build(t *testing.T) (program string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("wsload is for Linux: it needs epoll and /proc")
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skipf("needs a C compiler: %v", err)
	}
	program, err := wsload.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// echo answers each message with itself, some time later, and keeps what came.
type echo struct {
	late time.Duration

	mu       sync.Mutex
	opened   int
	held     [][]byte       // heldBytes a connection, for wsload's figure of memory
	messages map[string]int // by opcode and payload
}

// heldBytes is more than a process that has run other tests has lying about.
const heldBytes = 1 << 20

func (e *echo) Open(*server.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened++
	if len(e.held) < 20 {
		e.held = append(e.held, bytes.Repeat([]byte{1}, heldBytes))
	}
}

func (e *echo) Close(*server.Conn, error) {}

func (e *echo) Message(c *server.Conn, m ws.Message) {
	e.mu.Lock()
	e.messages[fmt.Sprintf("%v %s", m.Opcode, m.Payload)]++
	e.mu.Unlock()
	time.Sleep(e.late)
	_ = c.Send(m.Opcode, m.Payload) // Close tells
}

// serve gives the port of an echo server that lasts as long as the test.
func serve(t *testing.T, e *echo) (port string) {
	t.Helper()
	e.messages = map[string]int{}
	srv := &server.Server{Handler: e, Logger: slog.New(slog.DiscardHandler)}
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
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// load runs wsload for a second.
func load(t *testing.T, program, port, args string) (wsload.Figures, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	argv := append([]string{"-p", port, "-t", "1", "-w", "0"}, strings.Fields(args)...)
	out, err := exec.CommandContext(ctx, program, argv...).Output()
	if err != nil {
		t.Fatalf("wsload %s: %v", args, err)
	}
	return wsload.Parse(out)
}

// TestModes: each mode makes the load that it says, and measures it.
func TestModes(t *testing.T) {
	program := build(t)
	own := fmt.Sprintf(" -P %d", os.Getpid())
	for _, tt := range []struct {
		name, args string
		late       time.Duration
		opened     int    // at least; 0: exactly none
		message    string // all that come; "": none
		check      func(wsload.Figures) bool
	}{
		{"echo", "-m echo -c 3 -s 5 -d 2" + own, 0, 3, "text abcde",
			func(f wsload.Figures) bool {
				return f.PerSecond > 3 && f.P50 > 0 && f.P50 <= f.P99 && f.P99 <= f.Max && f.CPU > 0
			}},
		{"binary", "-m echo -c 1 -s 3 -b", 0, 1, "binary abc",
			func(f wsload.Figures) bool { return f.PerSecond > 1 && f.CPU == 0 }},
		{"late", "-m echo -c 1 -s 1", 20 * time.Millisecond, 1, "text a",
			func(f wsload.Figures) bool { return f.P50 >= 19_600 && f.PerSecond <= 50 }},
		{"rate", "-m rate -r 100 -c 2 -s 2", 0, 2, "text ab",
			func(f wsload.Figures) bool { return f.PerSecond > 20 && f.PerSecond < 120 && f.P50 > 0 }},
		{"idle", "-m idle -c 20" + own, 0, 20, "",
			func(f wsload.Figures) bool { return f.Opened == 20 && f.PerSecond == 0 && f.Memory > heldBytes/4 }},
		{"churn", "-m churn -d 4" + own, 0, 10, "",
			func(f wsload.Figures) bool { return f.Opened > 10 && f.PerSecond > 10 && f.CPU > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &echo{late: tt.late}
			f, err := load(t, program, serve(t, e), tt.args)
			if err != nil || !tt.check(f) {
				t.Errorf("figures %+v, %v", f, err)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.opened < tt.opened {
				t.Errorf("%d connections opened, want %d", e.opened, tt.opened)
			}
			if n := len(e.messages); tt.message == "" && n > 0 || tt.message != "" && (n != 1 || e.messages[tt.message] == 0) {
				t.Errorf("messages %v, want %q", e.messages, tt.message)
			}
		})
	}
}

// TestNoServer: a load that could not be made is an error, not a row of zeros.
func TestNoServer(t *testing.T) {
	program := build(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	out, err := exec.CommandContext(t.Context(), program, "-p", port, "-c", "2", "-t", "1", "-w", "0").Output()
	if err == nil {
		t.Errorf("exit status 0, and it printed %q", out)
	}
}

func TestParse(t *testing.T) {
	f, err := wsload.Parse([]byte(`{"mode":"echo","opened":100,"failed":0,"closed":0,"msgs_s":5,"p99_us":7.5,"server_cpu_us_msg":4.25,"rss_per_conn":190}`))
	want := wsload.Figures{Opened: 100, PerSecond: 5, P99: 7.5, CPU: 4.25, Memory: 190}
	if err != nil || f != want {
		t.Errorf("Parse gave %+v, %v, want %+v", f, err, want)
	}
	for _, bad := range []string{"", `{"opened":99,"failed":1}`, `{"opened":100,"closed":1}`, `{"opened":0}`} {
		if _, err := wsload.Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) gave no error", bad)
		}
	}
}

// TestNoCompiler: what is lacking is named.
func TestNoCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := wsload.Build(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "cc") {
		t.Errorf("%v, want that there is no cc", err)
	}
}
