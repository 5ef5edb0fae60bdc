package interop_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// limitFlags are what the scripts meet.
var limitFlags = []string{
	"--admin", "127.0.0.1:0", "--max-conns", "2", "--max-conns-per-addr", "0",
	"--message-rate", "1", "--message-burst", "5",
}

// TestLimitsPython and TestLimitsNode: clients that are not ours see a 503 with
// Retry-After, and a 1008 with its reason; the metrics tell of it.
func TestLimitsPython(t *testing.T) {
	needPython(t)
	testLimits(t, python, "python/limits.py")
}

func TestLimitsNode(t *testing.T) { testLimits(t, needNode(t), "node/limits.js") }

func testLimits(t *testing.T, command ...string) {
	t.Helper()
	m := startMillrace(t, limitFlags...)
	expectCases(t, script(t, append(command, "ws://"+m.addr+"/echo")...), 2)
	resp, err := http.Get("http://" + m.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`millrace_limits_met_total{limit="conns"} 1`, `millrace_limits_met_total{limit="message_rate"} 1`,
		`millrace_limits_met_total{limit="backlog"} 0`, `millrace_queues_bytes 0`,
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
