package load

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill a child process when the thread that starts
// it ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
