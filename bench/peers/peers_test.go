package peers_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	behind   []string // arguments behind the address
	lacking  string   // why it can not be started, if so
	shortest int      // bytes of the shortest message that it echoes
}

var goRivals = []string{"gorilla", "gws", "nbio", "coder", "gobwas", "gnet", "fasthttp", "greatws"}

// build builds all servers into a folder, in the way of README.md, and gives the
// command of each.
func build(t *testing.T) []rival {
	t.Helper()
	folder := t.TempDir()
	run(t, "go", "build", "-o", folder, "./...")
	var rivals []rival
	for _, name := range goRivals {
		r := rival{name: name, command: []string{filepath.Join(folder, name)}}
		if name == "nbio" {
			r.shortest = 1 // it does not tell its handler of an empty message
			rivals = append(rivals, rival{name: "nbio with its pool", command: append(r.command, "--pool"), shortest: 1})
		}
		rivals = append(rivals, r)
	}

	tornado := rival{name: "tornado", command: []string{python, "tornado/echo.py"}}
	if exec.Command(python, "-c", "import tornado").Run() != nil {
		tornado.lacking = "no " + python + " with tornado: install Debian's package python3-tornado"
	}
	node := rival{name: "node-ws", command: []string{"node", "node-ws/echo.js"}}
	if _, err := exec.LookPath("node"); err != nil {
		node.lacking = "no node: install Node.js"
	} else if _, err := os.Stat("node-ws/node_modules/ws"); err != nil {
		node.lacking = "no npm package ws: run npm ci in bench/peers/node-ws"
	}
	return append(rivals, tornado, node, buildFloor(t, folder))
}

func run(t *testing.T, command ...string) {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// start starts a server on a free port and gives its address once it accepts.
// When the test ends it is ended by SIGTERM, and must have printed one line.
func (r rival) start(t *testing.T) (address string) {
	t.Helper()
	address = freeAddress(t)
	return r.startWith(t, address, append([]string{"--listen", address}, r.behind...)...)
}

// startWith is start with arguments that have the server listen on that address.
func (r rival) startWith(t *testing.T, address string, args ...string) string {
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
	line, err := out.ReadString('\n')
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
	if want := "listening on " + address + "\n"; err != nil || line != want {
		t.Fatalf("it printed %q (%v), want %q", line, err, want)
	}
	return address
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

func TestServers(t *testing.T) {
	for _, r := range build(t) {
		t.Run(r.name, func(t *testing.T) {
			if r.lacking != "" {
				t.Skip(r.lacking)
			}
			address := r.start(t)
			t.Run("messages", func(t *testing.T) { testMessages(t, address, r.shortest) })
			t.Run("fragments", func(t *testing.T) { testFragments(t, address) })
			t.Run("many in one write", func(t *testing.T) { testMany(t, address, r.shortest) })
			t.Run("split anywhere", func(t *testing.T) { testSplit(t, address, r.shortest) })
			t.Run("ping", func(t *testing.T) { testPing(t, address) })
			t.Run("close", func(t *testing.T) { testClose(t, address) })
		})
	}
}
