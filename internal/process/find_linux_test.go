package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/process"
)

func TestFind(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		t.Run(address, func(t *testing.T) {
			puppet := newPuppet(t)
			answer := puppet.tell("listen %s", address)
			var port int
			if _, err := fmt.Sscan(answer, &port); err != nil {
				t.Skipf("this machine has no such address: %s", answer)
			}
			expectFound(t, port, puppet.pid())
			puppet.tell("child") // which inherits the listener
			expectFound(t, port, puppet.pid())
		})
	}
}

func expectFound(t *testing.T, port, want int) {
	t.Helper()
	if pid, err := process.Find(port); err != nil || pid != want {
		t.Errorf("Find(%d) = %d, %v, want %d", port, pid, err, want)
	}
}

func expectNotFound(t *testing.T, port int, words ...string) {
	t.Helper()
	pid, err := process.Find(port)
	if err == nil {
		t.Fatalf("Find(%d) = %d, want an error", port, pid)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q lacks %q", err, word)
		}
	}
}

func TestFindNobody(t *testing.T) {
	puppet := newPuppet(t)
	port := puppet.number("listen 127.0.0.1:0")
	_ = puppet.in.Close()
	_ = puppet.cmd.Wait()
	expectNotFound(t, port, fmt.Sprintf("nobody on this machine listens on port %d", port))
}

// TestFindSeveral: two strangers share a port on two addresses.
func TestFindSeveral(t *testing.T) {
	one, other := newPuppet(t), newPuppet(t)
	port := one.number("listen 127.0.0.1:0")
	if got := other.number("listen 127.0.0.2:%d", port); got != port {
		t.Fatalf("listens on %d, not on %d", got, port)
	}
	expectNotFound(t, port, fmt.Sprintf("several processes listen on port %d: ", port),
		fmt.Sprint(one.pid()), fmt.Sprint(other.pid()))
}

func TestFindOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to run a process as another user")
	}
	server := newPuppet(t)
	port := server.number("listen 127.0.0.1:0")
	stranger := newPuppet(t, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	})
	got := stranger.tell("find %d", port)
	if !strings.Contains(got, "by a process of user id 0 that can't be seen") {
		t.Errorf("another user gets %q", got)
	}
}
