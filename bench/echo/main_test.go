package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/bench"
)

// The test binary, executed once more with roleVariable set, is the command.
const roleVariable = "MILLRACE_ECHO_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the command until the test ends, and gives its address.
func start(t *testing.T, args ...string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	_ = ln.Close() // for the command
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"--listen", address}, args...)...)
	cmd.Env, cmd.Stderr = append(os.Environ(), roleVariable+"=1"), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestBroadcast: each message comes to all connections once, from one publisher or
// many, in an open loop and in a closed one, compressed or not.
func TestBroadcast(t *testing.T) {
	for _, flags := range [][]string{{"--broadcast"}, {"--broadcast", "--deflate"}, {"--broadcast", "--takeover"}} {
		target := bench.Target{URL: "ws://" + start(t, flags...) + "/"}
		if len(flags) > 1 {
			target.Deflate = bench.DeflateOn
		}
		if slices.Contains(flags, "--takeover") {
			target.Deflate = bench.DeflateTakeover
		}
		load := bench.Load{
			Connections: bench.Connections{Count: 10}, Messages: bench.Messages{MinSize: 300, Text: bench.TextCyrillic},
			Warmup: -1, Duration: 200 * time.Millisecond,
		}
		for _, s := range []bench.Broadcast{
			{Load: load, PerSecond: 100}, {Load: load, PerSecond: 100, Publishers: -1}, {Load: load, InFlight: 4, Publishers: 3},
			{Load: load, PerSecond: 100, Publishers: 3, EventStreams: true},
		} {
			t.Run(fmt.Sprint(flags, s.Publishers, s.InFlight, s.EventStreams), func(t *testing.T) {
				target := target
				if s.EventStreams {
					target.Deflate = bench.DeflateOff // they are not compressed, whatever the server could do
				}
				r, err := bench.Run(t.Context(), target, s)
				if err != nil {
					t.Fatal(err)
				}
				if p := r.Publication; len(r.Troubles) > 0 || r.Count == 0 || p.Published == 0 || !p.Own || *p.Missing+p.Doubled > 0 {
					t.Errorf("%d deliveries, publication %+v, troubles %+v", r.Count, p, r.Troubles)
				}
				if compressed := r.Wire != nil; compressed != (len(flags) > 1 && !s.EventStreams) {
					t.Errorf("wire %+v", r.Wire)
				}
			})
		}
	}
}
