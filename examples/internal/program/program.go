// Package program lets the examples' tests run a whole example, its main function
// included, as a process of its own, and talk to it with clients that this project
// did not write.
package program

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Patience is how long a test waits for anything before it fails.
const Patience = 10 * time.Second

// asProgram is set in the environment of a test binary that is to be the program.
const asProgram = "MILLRACE_EXAMPLE"

// Main is what an example's TestMain calls. Started by Start, the test binary runs
// main, with the race detector if the tests have it; otherwise it runs the tests.
func Main(m *testing.M, main func()) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Program is a running example. Its methods belong to the test's goroutine.
type Program struct {
	// Addr is where it listens, "127.0.0.1:" and a port.
	Addr string

	t      *testing.T
	cmd    *exec.Cmd
	output output
	ended  chan struct{} // closed when the process is gone, and err is set
	err    error
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start runs the example with -addr, set to a free port, and further arguments, and
// waits until it listens. What is left of it when the test ends is killed.
func Start(t *testing.T, args ...string) *Program {
	t.Helper()
	for range 3 { // somebody else may take the port before the program does
		p := launch(t, args)
		if p.listening() {
			return p
		}
		if !strings.Contains(p.output.String(), "address already in use") {
			t.Fatalf("the program does not listen: %v\n%s", p.err, p.output.String())
		}
	}
	t.Fatal("no free port in three attempts")
	return nil
}

func launch(t *testing.T, args []string) *Program {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Program{Addr: free.Addr().String(), t: t, ended: make(chan struct{})}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0], append([]string{"-addr", p.Addr}, args...)...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=50") // it would sleep for a second
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most have ended before
		<-p.ended
		if t.Failed() {
			t.Logf("the program's output:\n%s", p.output.String())
		}
	})
	return p
}

// listening waits for the program to accept connections, or to end.
func (p *Program) listening() bool {
	late := time.After(Patience)
	for {
		if conn, err := net.Dial("tcp", p.Addr); err == nil {
			_ = conn.Close() // nothing was sent
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-late:
			p.err = errors.New("too late")
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Signal sends the program SIGTERM and does not wait.
func (p *Program) Signal() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// Stop sends the program SIGTERM, and expects that it ends by itself with status 0.
func (p *Program) Stop() {
	p.t.Helper()
	p.Signal()
	p.ExpectEnd()
}

// ExpectEnd waits for the program's end, and expects status 0.
func (p *Program) ExpectEnd() {
	p.t.Helper()
	select {
	case <-p.ended:
		if p.err != nil {
			p.t.Errorf("the program ended with %v", p.err)
		}
	case <-time.After(Patience):
		p.t.Error("the program does not end")
	}
}

// Client is a WebSocket of gorilla's. Its methods fail the test, and belong to the
// test's goroutine.
type Client struct {
	*websocket.Conn
	t *testing.T
}

// Dial opens a WebSocket at a target, such as "/rooms/hall?name=ann". header may be nil.
func (p *Program) Dial(target string, header http.Header) *Client {
	p.t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+p.Addr+target, header)
	if err != nil {
		p.t.Fatalf("dial %s: %v", target, err)
	}
	return p.own(conn)
}

// own bounds all reading and closes the connection when the test ends.
func (p *Program) own(conn *websocket.Conn) *Client {
	p.t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() }) // most are closed before
	return &Client{conn, p.t}
}

// ExpectRefusal dials and expects that the server answers with a status other than 101.
func (p *Program) ExpectRefusal(target string, header http.Header, status int) {
	p.t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws://"+p.Addr+target, header)
	if err == nil {
		_ = conn.Close() // it should not be there
	}
	if resp == nil || resp.StatusCode != status {
		p.t.Errorf("dial %s: %v, %v; want status %d", target, resp, err, status)
	}
}

// SendText sends a text message.
func (c *Client) SendText(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// Receive waits for the next message, as text.
func (c *Client) Receive() string {
	c.t.Helper()
	_, payload, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(payload)
}

// Expect waits for the next message, which is to be this one.
func (c *Client) Expect(text string) {
	c.t.Helper()
	if got := c.Receive(); got != text {
		c.t.Fatalf("received %q, want %q", got, text)
	}
}

// ExpectClose reads on, passing over messages, until the server closes the
// connection with code.
func (c *Client) ExpectClose(code int) {
	c.t.Helper()
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, code) {
				c.t.Errorf("the connection ended with %v, want close code %d", err, code)
			}
			return
		}
	}
}
