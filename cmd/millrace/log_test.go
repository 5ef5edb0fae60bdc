package main_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// loggedBy stops p and gives the lines that it has logged with the event.
func loggedBy(p *process, event string) (lines []string) {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	status, stderr := p.status()
	if status != 0 {
		p.t.Errorf("status %d", status)
	}
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, event) {
			lines = append(lines, line)
		}
	}
	return lines
}

// expectLines compares lines with patterns.
func expectLines(t *testing.T, lines []string, patterns ...string) {
	t.Helper()
	if len(lines) != len(patterns) {
		t.Fatalf("%q, want %d lines", lines, len(patterns))
	}
	for i, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(lines[i]) {
			t.Errorf("%q, want %s", lines[i], pattern)
		}
	}
}

// TestAccessLog: a line for each beginning and end of a WebSocket, and for each
// refused request, and none of them by default.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	visit := func(p *process) {
		c := open(t, p.addr)
		c.send(fin|opText, "hello")
		c.expect(opText, "hello")
		c.sendClose(4711, "\"bye\"\n")
		c.expectClose(4711)
		c.expectEOF()
		for path, line := range map[string]string{"/nowhere?token=secret": "", "/echo": "Origin: https://other.example"} {
			if status := dial(t, p.addr).upgrade(path, line); status < 400 {
				t.Errorf("%s: status %d", path, status)
			}
		}
		fetch(t, "GET", "http://"+p.addr+"/healthz") // none of these
	}
	p := serve(t, nil)
	visit(p)
	expectLines(t, loggedBy(p, "remote="))

	for _, flags := range [][]string{{"--access-log"}, {"--access-log=on", "--loops", "1"}, {"--access-log", "on", "--loops", "1"}} {
		p := serve(t, nil, flags...)
		visit(p)
		lines := loggedBy(p, "remote=")
		refused := lines[2:]
		if !strings.Contains(refused[0], "nowhere") {
			refused[0], refused[1] = refused[1], refused[0]
		}
		const remote = `remote=127\.0\.0\.1:\d+ `
		expectLines(t, lines,
			`level=INFO msg="connection opened" `+remote+`path=/echo status=101\n`,
			`level=INFO msg="connection closed" `+remote+`path=/echo code=4711 by=peer reason="\\"bye\\"\\n" duration=\S+ `+
				`messages_in=1 messages_out=1 bytes_in=\d{3} bytes_out=\d{3}\n`,
			`level=INFO msg="request refused" `+remote+`status=404 reason="no WebSocket at this path" method=GET path=/nowhere\n`,
			`level=INFO msg="request refused" `+remote+`status=403 reason="origin not allowed" method=GET path=/echo `+
				`origin=https://other.example host=127\.0\.0\.1:\d+ remedy="--origin \(Server.Origin.Allow\)"\n`)
	}
}

// TestAccessLogOfServer: who closes is told, also when the drain cuts it short.
func TestAccessLogOfServer(t *testing.T) {
	t.Parallel()
	p := serve(t, []string{"MILLRACE_ACCESS_LOG=on"}, "--max-message", "10", "--drain-timeout", "300ms", "--close-timeout", "1h")
	c := open(t, p.addr)
	c.send(fin|opText, "more than ten")
	c.expectClose(1009)
	c.expectEOF()
	open(t, p.addr)
	expectLines(t, loggedBy(p, "connection closed"), `code=1009 by=server .* messages_in=0 `, `code=1001 by=server `)
}

// TestDebugLog: at debug level it is told who fails and why.
func TestDebugLog(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--log-level", "debug")
	c := open(t, p.addr)
	c.send(fin|opText, "\xff")
	c.expectClose(1007)
	c.expectEOF()
	dial(t, p.addr).upgrade("/echo", "Origin: https://other.example")
	told := slices.DeleteFunc(loggedBy(p, "level=DEBUG"), func(line string) bool {
		return strings.Contains(line, "turn was slow") // for want of a core
	})
	expectLines(t, told, `msg="connection failed" remote=127.* code=1007 reason=".*UTF-8`,
		`msg="request refused" remote=127.* status=403 .* origin=https://other.example host=\S+ remedy="--origin`)
}

// TestLogFormat: with json each line is an object of its own, and says what text says.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--log-format", "json", "--access-log", "--proxy-protocol", "required")
	c := dial(t, p.addr)
	c.write([]byte("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"))
	if status := c.upgrade("/echo"); status != 101 {
		t.Fatalf("status %d", status)
	}
	events := map[string]map[string]any{}
	for _, line := range loggedBy(p, "") {
		record := map[string]any{}
		if err := json.Unmarshal([]byte(line), &record); err != nil || record["time"] == "" || record["level"] == "" {
			t.Errorf("%q: %v", line, err)
		}
		events[record["msg"].(string)] = record
	}
	for event, want := range map[string]map[string]any{
		"PROXY headers count from anybody": {"level": "WARN", "remedy": "--trusted-proxies"},
		"connection opened":                {"remote": "192.0.2.1:1", "path": "/echo", "status": 101.0},
		"stopping":                         {"level": "INFO", "signal": "terminated"},
		"drain over":                       {"left": 0.0},
	} {
		for key, value := range want {
			if events[event][key] != value {
				t.Errorf("%s: %s is %v, want %v", event, key, events[event][key], value)
			}
		}
	}
}
