//go:build !linux

package load

import "os/exec"

// dieWithParent does nothing here: a child stops when its standard input ends.
func dieWithParent(*exec.Cmd) {}
