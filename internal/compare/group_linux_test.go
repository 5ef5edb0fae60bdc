package compare_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestKilled kills a comparison, which so can clean up nothing: its server ends
// all the same.
func TestKilled(t *testing.T) {
	ln, address := listen(t)
	cmd := exec.Command(program(t), "compare", "--servers", fake(t, "mute", "mute", address),
		"--scenarios", "echo-100", "--warmup", "250ms", "--duration", "1s", "--server-cpus", "all", "--client-cpus", "all")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // it leaves a folder behind
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	_ = cmd.Process.Kill() // it runs: its server does
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	expectEnd(t, c)
}
