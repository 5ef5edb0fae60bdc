package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/process"
)

// The tests look at processes of this very binary, which with this variable set
// are puppets: each line they are told is done and answered by one line.
const puppetVariable = "PROCESS_TEST_PUPPET"

// inherited is a listener that a puppet may be born with.
const inherited = 3

func TestMain(m *testing.M) {
	if os.Getenv(puppetVariable) == "" {
		os.Exit(m.Run())
	}
	var orders puppetry
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(orders.obey(strings.Fields(in.Text())))
	}
	orders.dismiss()
}

// puppetry is what a puppet has.
type puppetry struct {
	listener net.Listener
	child    *exec.Cmd
	to       io.WriteCloser
	from     *bufio.Scanner
}

// obey does one order and gives its answer.
func (p *puppetry) obey(order []string) any {
	switch order[0] {
	case "used": // CPU time until now
		return int64(used())
	case "burn":
		burn(order[1])
	case "thread": // burn in a thread that ends
		return burnInThread(order[1])
	case "listen":
		var err error
		if p.listener, err = net.Listen("tcp", order[1]); err != nil {
			return err
		}
		return p.listener.Addr().(*net.TCPAddr).Port
	case "find":
		var port int
		_, _ = fmt.Sscan(order[1], &port) // the test wrote a number
		pid, err := process.Find(port)
		return fmt.Sprint(pid, " ", err)
	case "child": // another puppet, which has the listener too
		return p.spawn()
	case "tell": // the child
		_, _ = fmt.Fprintln(p.to, strings.Join(order[1:], " ")) // a failure shows in the answer
		p.from.Scan()
		return p.from.Text()
	case "dismiss":
		p.dismiss()
	}
	return "done"
}

func (p *puppetry) spawn() any {
	p.child = puppetCommand()
	if p.listener != nil {
		file, err := p.listener.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		p.child.ExtraFiles = []*os.File{inherited - 3: file}
	}
	p.to, _ = p.child.StdinPipe()
	out, _ := p.child.StdoutPipe()
	p.from = bufio.NewScanner(out)
	if err := p.child.Start(); err != nil {
		return err
	}
	return p.child.Process.Pid
}

// dismiss ends the child, if there is one, and waits for it.
func (p *puppetry) dismiss() {
	if p.child != nil {
		_ = p.to.Close()
		_ = p.child.Wait()
	}
	p.child = nil
}

func puppetCommand() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe") // which another user may execute too
	cmd.Env = append(os.Environ(), puppetVariable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// used is the CPU time of this process, by its own account.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// burn uses that much CPU time.
func burn(text string) {
	d, _ := time.ParseDuration(text)
	for until := used() + d; used() < until; {
	}
}

// burnInThread burns in a thread that has ended when it returns.
func burnInThread(text string) any {
	ended := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if syscall.Gettid() == os.Getpid() {
			ended <- 0 // the main thread does not end
			return
		}
		burn(text)
		ended <- syscall.Gettid()
	}()
	tid := <-ended
	if tid == 0 {
		return burnInThread(text) // the main thread is locked now: it will be another
	}
	for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); err != nil {
			return "done"
		}
	}
	return "the thread did not end"
}

// puppet is one as the test sees it.
type puppet struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// newPuppet starts one that ends with the test.
func newPuppet(t *testing.T, adapt ...func(*exec.Cmd)) *puppet {
	t.Helper()
	p := &puppet{t: t, cmd: puppetCommand()}
	for _, f := range adapt {
		f(p.cmd)
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.in.Close()
		_ = p.cmd.Wait() // a test may have killed it
	})
	return p
}

func (p *puppet) pid() int { return p.cmd.Process.Pid }

// tell has an order done and gives the answer.
func (p *puppet) tell(order string, args ...any) string {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, order+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("no answer to %q: %v", order, p.out.Err())
	}
	return p.out.Text()
}

// number is tell for an answer that is one.
func (p *puppet) number(order string, args ...any) int {
	p.t.Helper()
	var n int
	if answer := p.tell(order, args...); answer != "" {
		if _, err := fmt.Sscan(answer, &n); err != nil {
			p.t.Fatalf("%s: answer %q, want a number", order, answer)
		}
	}
	return n
}

// used is its CPU time by its own account.
func (p *puppet) used() time.Duration { return time.Duration(p.number("used")) }
