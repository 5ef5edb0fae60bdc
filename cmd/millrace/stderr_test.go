//go:build unix

package main_test

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipe is a pipe that blocks, for a process to write to.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	syscall.ForkLock.RLock() // no other test's process is to inherit them
	err := syscall.Pipe(fds[:])
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer")
	t.Cleanup(func() {
		_ = r.Close() // either may be closed
		_ = w.Close()
	})
	return r, w
}

// fullPipe is the end for writing of a pipe that is full and nobody reads.
func fullPipe(t *testing.T) (w *os.File) {
	t.Helper()
	_, w = pipe(t)
	fd := int(w.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for size := 4096; size > 0; {
		if _, err := syscall.Write(fd, make([]byte, size)); errors.Is(err, syscall.EAGAIN) {
			size /= 2 // to the last byte
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return w
}

// cause has the server log lines, at debug level, on all its loops.
func cause(t *testing.T, addr string, lines int) {
	t.Helper()
	for range lines {
		if status := dial(t, addr).upgrade("/nowhere"); status != 404 {
			t.Fatalf("status %d", status)
		}
	}
}

// servesOn echoes on connections of all loops.
func servesOn(t *testing.T, addr string) {
	t.Helper()
	for range 8 {
		c := open(t, addr)
		c.send(fin|opText, "still here")
		c.expect(opText, "still here")
		_ = c.Close() // it is not to be waited for
	}
}

// TestStderrGone: the reader of stderr, and that of stdout, may go: lines are lost
// then, and counted, and nothing else.
func TestStderrGone(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	p := serveTo(t, w, nil, "--log-level", "debug")
	if err := errors.Join(r.Close(), w.Close()); err != nil { // now the process has the only end
		t.Fatal(err)
	}
	const lines = 20
	cause(t, p.addr, lines)
	servesOn(t, p.addr)
	dropped := 0
	for end := time.Now().Add(patience); dropped < lines && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		_, page := fetch(t, "GET", "http://"+p.addr+"/metrics")
		_, value, _ := strings.Cut(page, "\nmillrace_log_records_dropped_total ")
		value, _, _ = strings.Cut(value, "\n")
		dropped, _ = strconv.Atoi(value)
	}
	if dropped < lines {
		t.Errorf("%d lines are counted, want %d", dropped, lines)
	}
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, "")
}

// TestStderrFull: a stderr that nobody reads stops neither the loops nor the end.
func TestStderrFull(t *testing.T) {
	t.Parallel()
	p := serveTo(t, fullPipe(t), nil, "--log-level", "debug", "--access-log")
	cause(t, p.addr, 1500) // more than wait
	servesOn(t, p.addr)
	c := open(t, p.addr)
	p.signal(syscall.SIGTERM)
	if err := c.answerClose(1001); err != nil {
		t.Error(err)
	}
	p.expectStatus(0, "")
}

// TestStderrFullAtOnce: nor does it stop a second signal, whose words nobody reads.
func TestStderrFullAtOnce(t *testing.T) {
	t.Parallel()
	p := serveTo(t, fullPipe(t), nil, "--drain-timeout", "1h", "--close-timeout", "1h")
	c := open(t, p.addr)
	p.signal(syscall.SIGTERM)
	c.expectClose(1001)
	time.Sleep(sameSignal)
	p.signal(syscall.SIGTERM)
	p.expectStatus(1, "")
}

// TestOutputFull: stdout and stderr are one pipe, and full before the server begins.
func TestOutputFull(t *testing.T) {
	t.Parallel()
	w := fullPipe(t)
	addr := "127.0.0.1:" + strconv.Itoa(freePort(t))
	cmd := command(t.Context(), nil, "serve", "--listen", addr)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close() // it was all it was for
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	servesOn(t, addr)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it does not exit")
		_ = cmd.Process.Kill() // a second one, then
		<-exited
	}
}
