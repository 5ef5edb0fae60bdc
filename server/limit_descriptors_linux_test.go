package server_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// limitedEnv makes the test binary a server with few descriptors.
const limitedEnv = "MILLRACE_TEST_FEW_DESCRIPTORS"

// TestFewDescriptors runs TestFewDescriptorsChild in a process of its own, whose
// limit of descriptors can be lowered.
func TestFewDescriptors(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFewDescriptorsChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), limitedEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestFewDescriptorsChild uses up the descriptors of its process: those who are
// in go on, the processor is not kept busy, and who waits is served when there
// are descriptors again.
func TestFewDescriptorsChild(t *testing.T) {
	if os.Getenv(limitedEnv) == "" {
		t.Skip("runs in a process of its own, see TestFewDescriptors")
	}
	addr, srv := startServer(t, func(srv *server.Server) { srv.Runtime.Loops = 1 })
	inside := dial(t, addr).upgraded()
	waiting, files := dialExhausted(t, addr)
	before := cpuTime(t)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		inside.send(frame(opText, "others live"))
		inside.expect(opText, "others live")
	}
	if used := cpuTime(t) - before; used > 300*time.Millisecond {
		t.Errorf("%v of CPU in a second out of descriptors", used)
	}
	if srv.Stats().AcceptErrors == 0 {
		t.Error("the server did not run out of descriptors: the test tests nothing")
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	waiting.upgraded()
}

// dialExhausted connects with the last descriptor of the process: between the
// client's socket and its connect, files take all others.
func dialExhausted(t *testing.T, addr string) (waiting *client, files []*os.File) {
	t.Helper()
	d := net.Dialer{Control: func(string, string, syscall.RawConn) error {
		err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64})
		for err == nil {
			var f *os.File
			if f, err = os.Open(os.DevNull); err == nil {
				files = append(files, f)
			}
		}
		if errors.Is(err, syscall.EMFILE) {
			return nil
		}
		return err
	}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn), files
}

// cpuTime is what the process has used of the processors.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
