package compare

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestStopTwice: a process that was stopped is not killed again, when its number may be
// another one's.
func TestStopTwice(t *testing.T) {
	if _, err := exec.LookPath("cat"); err != nil {
		t.Skip("needs cat: ", err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirIn.Close()
	defer in.Close()
	answers, stdout := io.Pipe()
	other, err := start([]string{"cat"}, theirIn, stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer other.stop()
	go func() {
		<-other.ended
		_ = stdout.Close()
	}()
	p, err := start([]string{"cat"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	p.cmd.Process = other.cmd.Process
	p.stop()
	if _, err := fmt.Fprintln(in, "still here"); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(answers).ReadString('\n'); err != nil || strings.TrimSpace(said) != "still here" {
		t.Errorf("the other process says %q, %v", said, err)
	}
}

// TestNoTasksetWatchesAll: where nothing can be pinned, what the host takes of any CPU
// counts.
func TestNoTasksetWatchesAll(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := &study{options: &options{serverCPUs: "0", clientCPUs: "1"}, stderr: io.Discard}
	s.lab.serverCPUs, s.lab.clientCPUs = s.serverCPUs, s.clientCPUs
	if err := s.pin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if watched := watchSteal(0.05, s.lab.serverCPUs, s.lab.clientCPUs).cpus; watched != nil {
		t.Errorf("only CPUs %v are watched", watched)
	}
}
