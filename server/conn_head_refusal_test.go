package server_test

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// without is a valid upgrade request without the line that begins with name.
func without(name string) string {
	var kept []string
	for line := range strings.SplitSeq(upgradeRequest(), "\r\n") {
		if !strings.HasPrefix(line, name) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\r\n")
}

// with is a valid upgrade request with one line, or part of it, replaced.
func with(old, replacement string) string {
	return strings.Replace(upgradeRequest(), old, replacement, 1)
}

// refusals are bad handshakes, and the statuses that they may get.
var refusals = []struct {
	line     string
	statuses []int
	requests []string
}{
	{"No Upgrade, no Connection token, no version => 4xx", []int{400, 426}, []string{
		without("Upgrade:"), without("Connection:"), without("Sec-WebSocket-Version:"),
		with("Connection: Upgrade", "Connection: keep-alive"), with("Upgrade: websocket", "Upgrade: h2c"),
	}},
	{"version 8, 99, 013 => 426", []int{426}, []string{
		with("Version: 13", "Version: 8"), with("Version: 13", "Version: 99"), with("Version: 13", "Version: 013"),
	}},
	{"Key absent, not base64, not 16 bytes, twice => 400", []int{400}, []string{
		without("Sec-WebSocket-Key:"), with(clientKey, ""), with(clientKey, "!HNhXBsZSBub25jZQ=="),
		with(clientKey, "dGhlIHNhbXBsZSBub25j"), with(clientKey, "dGhlIHNhbXBsZSBub25jZTEyMw=="),
		with(clientKey, clientKey[:22]), upgradeRequest("Sec-WebSocket-Key: " + clientKey),
	}},
	{"Host absent, twice, malformed => 400", []int{400}, []string{
		without("Host:"), upgradeRequest("Host: example.com"), upgradeRequest("Host: other.example"),
		with("example.com", "exam ple.com"), with("example.com", "a@b"), with("example.com", "a:port"),
		with("example.com", "a/b"), with("example.com", "[::1"),
	}},
	{"HTTP/1.0 with Upgrade => as a plain request", []int{426}, []string{with("HTTP/1.1", "HTTP/1.0")}},
	{"`HTTP/1.:`, 9.9 => 400 or 505", []int{400, 505}, []string{
		with("HTTP/1.1", "HTTP/1.:"), with("HTTP/1.1", "HTTP/9.9"),
		with("HTTP/1.1", "HTTP/2.0"), with("HTTP/1.1", "http/1.1"), with("HTTP/1.1", "HTTP/1.11"),
		with(" HTTP/1.1", ""),
	}},
	{"POST, `get` => 405 or 400", []int{400, 405}, []string{
		with("GET", "POST"), with("GET", "get"), with("GET", "CONNECT"),
	}},
	{"`Host : a`, folded line, bare CR, NUL or control in a value, ... => 400", []int{400}, []string{
		with("Host:", "Host :"), upgradeRequest("X: a", " folded"), upgradeRequest("X: a", "\tfolded"),
		upgradeRequest("X: a\rb"), upgradeRequest("X: a\x00b"), upgradeRequest("X: a\x01b"), upgradeRequest("X: a\x7fb"),
		upgradeRequest(": no name"), upgradeRequest("na me: a"), upgradeRequest("n\u00e4me: a"), upgradeRequest("no colon"),
		with("GET /", "GET /a\x01b"), with("GET /", "GET /a b"), with("GET /", "GET /a\x7f"),
		strings.ReplaceAll(upgradeRequest(), "\r\n", "\n"), with("\r\n", "\n"),
	}},
	{"Content-Length with a body, Transfer-Encoding, both => 400, close", []int{400}, []string{
		upgradeRequest("Content-Length: 5") + "hello", upgradeRequest("Transfer-Encoding: chunked") + "0\r\n\r\n",
		upgradeRequest("Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		upgradeRequest("Content-Length: 5", "Content-Length: 6") + "hello", upgradeRequest("Content-Length: -1"),
		upgradeRequest("Content-Length: 18446744073709551617"),
	}},
	{"Foreign Origin (scheme, host or port differs), null => 403 by default", []int{403}, []string{
		upgradeRequest("Origin: https://example.com"), upgradeRequest("Origin: http://evil.example"),
		upgradeRequest("Origin: http://example.com:8080"), upgradeRequest("Origin: null"), upgradeRequest("Origin: "),
		upgradeRequest("Origin: http://example.com.evil.example"), upgradeRequest("Origin: example.com"),
	}},
	{"Garbage, TLS on the plain port => 400 at once, not silence", []int{400}, []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00\x00\x00\x00", "SSH-2.0-OpenSSH_9.9\r\n", "\xff\xfe\xfd",
		"{\"json\": 1}", "\n", "\r\r",
	}},
	{"garbage that looks like a method", []int{501}, []string{strings.Repeat("A", 33)}},
	{"200,000 lines, 64 KiB of a,a,a,... with the default head => 431", []int{431}, []string{
		upgradeRequest(strings.Split(strings.Repeat("a: b\n", 200_000), "\n")[:200_000]...),
		with("Connection: Upgrade", "Connection: "+strings.Repeat("a,", 32<<10)+"Upgrade"),
		upgradeRequest("X: " + strings.Repeat("x", 16<<10)),
	}},
	{"target of 16 KiB => 414", []int{414}, []string{"GET /" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\n"}},
}

// TestRefusals sends each bad request with frames and a further request behind
// it: "Bytes after a refused upgrade => one 4xx, close, never a second response"
// and "A refusal while the client still sends => the client reads the whole 4xx,
// no RST".
func TestRefusals(t *testing.T) {
	t.Parallel()
	addr, srv := startServer(t, func(s *server.Server) {
		s.Handler = handler{open: func(*server.Conn) { t.Error("a refused connection was opened") }}
	})
	for _, test := range refusals {
		t.Run(test.line, func(t *testing.T) {
			for _, request := range test.requests {
				c := dial(t, addr)
				go func() { _, _ = c.Write([]byte(request + frame(opText, "behind") + upgradeRequest())) }() // the answer tells
				resp := c.expectRefusal(test.statuses...)
				if resp.StatusCode == http.StatusUpgradeRequired && resp.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("426 without Sec-WebSocket-Version: 13 to %.300q", request)
				}
				if t.Failed() {
					t.Fatalf("the request was %.300q", request)
				}
				_ = c.Close()
			}
		})
	}
	eventually(t, "all refused connections to be freed", func() bool { return srv.Stats().Open == 0 })
}

// TestRefusalSplit gives a refused request and what follows it in two segments,
// split everywhere.
func TestRefusalSplit(t *testing.T) {
	t.Parallel()
	n, addr, _ := startSim(t, simnet.Config{}, nil)
	stream := without("Sec-WebSocket-Key:") + frame(opText, "behind")
	for i := 1; i < len(stream); i++ {
		c := dialSim(t, n, addr)
		c.send(stream[:i])
		idle(t, n)
		c.send(stream[i:])
		c.expectRefusal(400)
		_ = c.Close()
	}
}

// TestRefusalWhileSending: the refusal is read whole although the client sends
// a megabyte behind a wrong first byte and reads only after that.
func TestRefusalWhileSending(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, nil)
	for _, start := range []string{"\x16", without("Host:"), with("Version: 13", "Version: 8"), upgradeRequest("X: a\x00")} {
		c := dial(t, addr)
		c.send(start)
		chunk := strings.Repeat("more ", 13<<10)
		for range 16 {
			c.send(chunk)
		}
		c.expectRefusal(400, 426)
		_ = c.Close()
	}
}

// TestHeadLines: 100 lines are taken, one more is not, however much room there is.
func TestHeadLines(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, func(s *server.Server) { s.Limits.Head = 8 << 20 })
	spare := make([]string, 100-strings.Count(upgradeRequest(), "\r\n")+1) // the last of those ends the head
	for i := range spare {
		spare[i] = "a: b"
	}
	c := dial(t, addr)
	c.send(upgradeRequest(spare...))
	c.expectSwitch()
	for _, more := range []int{1, 200_000} {
		c = dial(t, addr)
		go func() { _, _ = c.Write([]byte(upgradeRequest(append(spare, slices.Repeat(spare[:1], more)...)...))) }() // the answer tells
		c.expectRefusal(431)
	}
}

// TestHugeHead: "8 MiB header, 200,000 lines => 431, memory + < 1 MiB", measured
// as all that is allocated on the way, freed or not.
func TestHugeHead(t *testing.T) {
	addr, _ := startServer(t, func(s *server.Server) {
		s.Runtime.Workers = 1 // a worker's buffers are not what is measured
	})
	dial(t, addr).upgraded()
	for name, chunk := range map[string]string{
		"one line of 8 MiB": strings.Repeat("x", 64<<10),
		"200,000 lines":     strings.Repeat("name: value of one\r\n", 3<<10),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			bytes := []byte(chunk)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c.send("GET / HTTP/1.1\r\nHost: example.com\r\nX: ")
			for sent := 0; sent < 8<<20; sent += len(bytes) {
				if _, err := c.Write(bytes); err != nil {
					t.Fatalf("after %d bytes: %v", sent, err)
				}
			}
			c.expectRefusal(431)
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown >= 1<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
		})
	}
}
