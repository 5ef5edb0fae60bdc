package compare

import (
	"os/exec"
	"syscall"
)

// inGroup makes a command the head of a process group, so that all it starts can
// be ended with it, and has the kernel end it should we be killed ourselves.
// (The kernel watches the thread that starts it, but Go's threads stay.)
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends a started command and all of its group.
func killGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
}
