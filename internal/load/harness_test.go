package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// raceDetector says whether it is on: it makes the client several times slower
// and bigger.
var raceDetector = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// everyday skips a case with -short unless it is one of those named.
func everyday(t *testing.T, name string, those ...string) {
	t.Helper()
	if testing.Short() && !slices.Contains(those, name) {
		t.Skip("left to make thorough: more of the same as " + strings.Join(those, ", "))
	}
}

// eventually waits until what is true, or fails the test.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited %v in vain for: %s", patience, what)
			return
		}
	}
}

// run does a plan, which must be done long before its time is over.
func run(t *testing.T, p result.Plan, watch load.Watch) *result.Result {
	t.Helper()
	if p.Timeout == 0 {
		p.Timeout = patience
	}
	if p.FirstReply == 0 {
		p.FirstReply = patience // a busy machine is no server that does not answer
	}
	r, err := load.Run(t.Context(), p, watch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantTroubles compares the troubles of a result, in the order of their texts.
func wantTroubles(t *testing.T, r *result.Result, want ...result.Trouble) {
	t.Helper()
	got := slices.SortedFunc(slices.Values(r.Troubles), func(a, b result.Trouble) int {
		return slices.Compare([]byte(a.What), []byte(b.What))
	})
	if !slices.Equal(got, want) {
		t.Errorf("troubles %+v, want %+v; notes %q", got, want, r.Notes)
	}
}

// leavesNothing checks at the test's end, after its other cleanups, that no
// descriptor and no goroutine is left over.
func leavesNothing(t *testing.T) {
	t.Helper()
	useNetworkOnce()
	descriptors, goroutines := openDescriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "no descriptor left over", func() bool { return openDescriptors() <= descriptors })
		eventually(t, "no goroutine left over", func() bool { return runtime.NumGoroutine() <= goroutines })
	})
}

// openDescriptors is how many files this process has open; 0 where there is no
// way to tell.
func openDescriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(open)
}

// useNetworkOnce opens what Go's net package opens once for all.
var useNetworkOnce = sync.OnceFunc(func() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
})

// echo answers each message with itself and keeps what it saw of them.
type echo struct {
	mu             sync.Mutex
	opened, closed int
	sizes          [2]int // least and most
	opcodes        map[ws.Opcode]int
}

func (e *echo) Open(*server.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened++
}

func (e *echo) Message(c *server.Conn, m ws.Message) {
	e.mu.Lock()
	if len(e.opcodes) == 0 {
		e.opcodes, e.sizes[0] = map[ws.Opcode]int{}, len(m.Payload)
	}
	e.opcodes[m.Opcode]++
	e.sizes = [2]int{min(e.sizes[0], len(m.Payload)), max(e.sizes[1], len(m.Payload))}
	e.mu.Unlock()
	_ = c.Send(m.Opcode, m.Payload) // Close tells
}

func (e *echo) Close(*server.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed++
}

// publisher sends each message to all connections, the sender's too.
type publisher struct {
	mu    sync.Mutex
	conns map[*server.Conn]struct{}
}

func (p *publisher) Open(c *server.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
}

func (p *publisher) Close(c *server.Conn, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *publisher) Message(_ *server.Conn, m ws.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Send(m.Opcode, m.Payload) // Close tells
	}
}

// ticker sends a message to all connections every 10 ms, until the test ends.
type ticker struct{ publisher }

func newTicker(t *testing.T) *ticker {
	k := &ticker{publisher{conns: map[*server.Conn]struct{}{}}}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-over:
				tick.Stop()
				return
			case <-tick.C:
				k.publisher.Message(nil, ws.Message{Opcode: ws.Text, Payload: []byte("tick")})
			}
		}
	}()
	t.Cleanup(func() {
		close(over)
		<-ended
	})
	return k
}

func (*ticker) Message(*server.Conn, ws.Message) {}

// serve starts a millrace server in this process until the test ends, and gives
// its URL.
func serve(t *testing.T, address string, srv *server.Server) (url string) {
	t.Helper()
	srv.Logger = slog.New(slog.DiscardHandler)
	ln, err := srv.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine has no %s: %v", address, err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-served
	})
	return "ws://" + ln.Addr().String() + "/"
}

// The test binary, executed once more with roleVariable set, is an echo server,
// or does a plan.
const (
	roleVariable = "MILLRACE_BENCH_TEST_ROLE"
	roleEcho     = "echo"
	roleLate     = "late echo"
	roleAll      = "broadcast"
	roleLoad     = "load"
)

func init() {
	role := map[string]func() error{
		roleEcho: func() error { return echoProcess(plainEcho{}) },
		roleLate: func() error { return echoProcess(newLateEcho()) },
		roleAll:  func() error { return echoProcess(&hub{}) },
		roleLoad: loadProcess,
	}[os.Getenv(roleVariable)]
	if role == nil {
		return
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// loadProcess reads a plan, does it and writes the result.
func loadProcess() error {
	var p result.Plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	r, err := load.Run(context.Background(), p, load.Watch{})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// runElsewhere does a plan in a process of its own; before is put in front of its
// command.
func runElsewhere(t *testing.T, p result.Plan, before ...string) *result.Result {
	t.Helper()
	plan, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := again(t, roleLoad, before)
	cmd.Stdin = bytes.NewReader(plan)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	r := &result.Result{}
	if err := json.Unmarshal(out, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// again is the command that executes the test binary in a role.
func again(t *testing.T, role string, before []string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(slices.Clone(before), program)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// plainEcho answers each message with itself.
type plainEcho struct{}

func (plainEcho) Open(*server.Conn)                    {}
func (plainEcho) Close(*server.Conn, error)            {}
func (plainEcho) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // Close tells

// lateEcho does so 5 ms later, in order.
type lateEcho struct {
	plainEcho
	answers chan lateAnswer
}

type lateAnswer struct {
	due     time.Time
	conn    *server.Conn
	opcode  ws.Opcode
	payload []byte
}

func newLateEcho() lateEcho {
	e := lateEcho{answers: make(chan lateAnswer, 10000)}
	go func() {
		for a := range e.answers {
			time.Sleep(time.Until(a.due))
			_ = a.conn.Send(a.opcode, a.payload) // Close tells
		}
	}()
	return e
}

func (e lateEcho) Message(c *server.Conn, m ws.Message) {
	e.answers <- lateAnswer{time.Now().Add(5 * time.Millisecond), c, m.Opcode, slices.Clone(m.Payload)}
}

// echoProcess serves until its parent closes its input, or ends.
func echoProcess(handler server.Handler) error {
	if _, _, err := poller.RaiseDescriptorLimit(); err != nil {
		return err
	}
	srv := &server.Server{Handler: handler, EventStreams: true, Runtime: server.Runtime{Loops: 1}}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return srv.Serve(ln)
}

// startEcho starts an echo server in a process of its own, until the test ends.
func startEcho(t *testing.T) (url string, server *os.Process) {
	t.Helper()
	return startServer(t, roleEcho)
}

// startServer starts a server of that role; before is put in front of its command.
func startServer(t *testing.T, role string, before ...string) (url string, server *os.Process) {
	t.Helper()
	cmd := again(t, role, before)
	input, err := cmd.StdinPipe() // its end is ours: the server ends when we do
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
		_ = input.Close()
	})
	var address string
	if _, err := fmt.Fscanln(output, &address); err != nil {
		t.Fatalf("the echo server said nothing: %v", err)
	}
	return "ws://" + address + "/", cmd.Process
}
