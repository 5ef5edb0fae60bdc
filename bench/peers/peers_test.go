package peers_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 60 * time.Second // how long a test waits for what must come
	python   = "/usr/bin/python3"
)

// rival is one echo server.
type rival struct {
	name     string
	command  []string
	lacking  string // why it can not be started, if so
	shortest int    // bytes of the shortest message that it echoes
	can      string // of echo, broadcast, events, tls, deflate and takeover; the rest it refuses
	ours     bool   // it does not print that it listens, and asks for its own origin
}

var goRivals = []rival{
	{name: "gorilla", can: "echo, broadcast, events, tls, deflate"},
	{name: "gws", can: "echo, broadcast, tls, deflate, takeover"},
	{name: "nbio", can: "echo, broadcast, tls, deflate", shortest: 1}, // it does not tell its handler of an empty message
	{name: "coder", can: "echo, broadcast, tls, deflate, takeover"},
	{name: "gobwas", can: "echo, broadcast, tls, deflate"},
	{name: "gnet", can: "echo, broadcast, deflate"},
	{name: "fasthttp", can: "echo, broadcast, tls, deflate"},
	{name: "greatws", can: "echo, broadcast, deflate"},
	{name: "centrifuge", can: "broadcast, tls"},
}

var built struct {
	once   sync.Once
	folder string
	rivals []rival
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.folder != "" {
		_ = os.RemoveAll(built.folder)
	}
	os.Exit(code)
}

// rivals gives all servers, which are built for the first test that asks.
func rivals(t *testing.T) []rival {
	t.Helper()
	built.once.Do(func() {
		var err error
		if built.folder, err = os.MkdirTemp("", "peers"); err != nil {
			t.Fatal(err)
		}
		built.rivals = build(t, built.folder)
	})
	if built.rivals == nil {
		t.Fatal("they could not be built")
	}
	return built.rivals
}

// build builds all servers into a folder, in the way of README.md, and gives the
// command of each.
func build(t *testing.T, folder string) []rival {
	t.Helper()
	run(t, "go", "build", "-o", folder, "./...")
	var rivals []rival
	for _, r := range goRivals {
		r.command = []string{filepath.Join(folder, r.name)}
		rivals = append(rivals, r)
		if r.name == "nbio" {
			r.name, r.command = "nbio with its pool", append(r.command, "--pool")
			rivals = append(rivals, r)
		}
	}

	ours := rival{name: "millrace", can: "echo, broadcast, events, tls, deflate, takeover", ours: true, command: []string{filepath.Join(folder, "echo")}}
	run(t, "go", "-C", "../..", "build", "-o", ours.command[0], "./bench/echo")
	tornado := rival{name: "tornado", can: "echo, broadcast, tls, takeover", command: []string{python, "tornado/echo.py"}}
	if exec.Command(python, "-c", "import tornado").Run() != nil {
		tornado.lacking = "no " + python + " with tornado: install Debian's package python3-tornado"
	}
	node := rival{name: "node-ws", can: "echo, broadcast, events, tls, deflate, takeover", command: []string{"node", "node-ws/echo.js"}}
	if _, err := exec.LookPath("node"); err != nil {
		node.lacking = "no node: install Node.js"
	} else if _, err := os.Stat("node-ws/node_modules/ws"); err != nil {
		node.lacking = "no npm package ws: run npm ci in bench/peers/node-ws"
	}
	return append(rivals, ours, tornado, node, buildFloor(t, folder))
}

func run(t *testing.T, command ...string) {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// start starts a server on a free port and tells of it once it accepts. When the
// test ends it is ended by SIGTERM, and must have printed one line.
func (r rival) start(t *testing.T, behind ...string) target {
	t.Helper()
	address := freeAddress(t)
	return r.startWith(t, address, append([]string{"--listen", address}, behind...)...)
}

// startWith is start with arguments that have the server listen on that address.
func (r rival) startWith(t *testing.T, address string, args ...string) target {
	t.Helper()
	cmd := exec.Command(r.command[0], append(r.command[1:len(r.command):len(r.command)], args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() })
	out := bufio.NewReader(stdout)
	want := "listening on " + address + "\n"
	line := want
	if r.ours {
		listens(t, address)
	} else {
		line, err = out.ReadString('\n')
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		rest, _ := io.ReadAll(out)
		_ = cmd.Wait() // the error is the signal
		if !stuck.Stop() {
			t.Error("SIGTERM did not end it")
		}
		if len(rest) > 0 {
			t.Errorf("it printed more than one line: %q", rest)
		}
	})
	if err != nil || line != want {
		t.Fatalf("it printed %q (%v), want %q", line, err, want)
	}
	return target{address: address, origin: r.ours, tls: slices.Contains(args, "--cert"), deflate: slices.Contains(args, "--deflate")}
}

// listens waits until a server does.
func listens(t *testing.T, address string) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on %s", address)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// each runs a test with each server that can do all that is named.
func each(t *testing.T, needs string, test func(t *testing.T, r rival)) {
	t.Helper()
	for _, r := range rivals(t) {
		if !r.does(needs) {
			continue // TestRefusals
		}
		t.Run(r.name, func(t *testing.T) {
			if r.lacking != "" {
				t.Skip(r.lacking)
			}
			test(t, r)
		})
	}
}

// does says whether a server can do all that is named.
func (r rival) does(needs string) bool {
	for need := range strings.FieldsSeq(needs) {
		if !strings.Contains(r.can, need) {
			return false
		}
	}
	return true
}

func TestServers(t *testing.T) {
	each(t, "echo", func(t *testing.T, r rival) {
		to := r.start(t)
		testAll(t, to, r.shortest)
		t.Run("close", func(t *testing.T) { testClose(t, to) })
	})
}

func testAll(t *testing.T, to target, shortest int) {
	t.Run("messages", func(t *testing.T) { testMessages(t, to, shortest) })
	t.Run("fragments", func(t *testing.T) { testFragments(t, to) })
	t.Run("many in one write", func(t *testing.T) { testMany(t, to, shortest) })
	t.Run("split anywhere", func(t *testing.T) { testSplit(t, to, shortest) })
	t.Run("ping", func(t *testing.T) { testPing(t, to) })
}
