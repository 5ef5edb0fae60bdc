package main_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func expectPage(t *testing.T, url string, status int, text string) {
	t.Helper()
	resp, body := fetch(t, "GET", url)
	if resp.StatusCode != status || !strings.Contains(body, text) {
		t.Errorf("%s: %s %q, want %d and %q", url, resp.Status, body, status, text)
	}
}

// TestAdmin: health on an address of its own, and nothing of what clients see.
func TestAdmin(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--admin", "127.0.0.1:0", "--drain-delay", "1h")
	if p.admin == p.addr {
		t.Fatalf("both addresses are %s", p.addr)
	}
	expectPage(t, "http://"+p.admin+"/healthz", 200, "ok")
	expectPage(t, "http://"+p.admin+"/readyz", 200, "ready")
	expectPage(t, "http://"+p.admin+"/metrics", 200, `millrace_connections{state="open"} 0`)
	expectPage(t, "http://"+p.admin+"/metrics", 200, `millrace_upgrades_total{code="101"} 0`)
	expectPage(t, "http://"+p.admin+"/metrics", 200, "go_goroutines ")
	expectPage(t, "http://"+p.addr+"/metrics", 404, "")
	expectPage(t, "http://"+p.admin+"/", 404, "")
	expectPage(t, "http://"+p.admin+"/echo", 404, "")
	p.signal(syscall.SIGTERM)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if resp, _ := fetch(t, "GET", "http://"+p.admin+"/readyz"); resp.StatusCode == 503 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("/readyz does not fail on the admin address")
		}
	}
	expectPage(t, "http://"+p.admin+"/healthz", 200, "ok")
	expectPage(t, "http://"+p.addr+"/readyz", 503, "shutting down")
}

// TestAdminUsers: the page that only takes orders says so to who looks at it.
func TestAdminUsers(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--admin", "127.0.0.1:0", "--topics")
	resp, body := fetch(t, "GET", "http://"+p.admin+"/debug/users")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" || !strings.HasPrefix(body, "POST only: ") || !strings.Contains(body, "docs/cluster.md") {
		t.Errorf("%s %v %q", resp.Status, resp.Header, body)
	}
	expectAnswer(t, `200 {"here":0,"partial":false}`, "POST", "http://"+p.admin+"/debug/users", "user=ann", "X-Millrace-Action: close", "Content-Type: application/x-www-form-urlencoded")
	expectAnswer(t, "403 ", "POST", "http://"+p.admin+"/debug/users", "user=ann", "Content-Type: application/x-www-form-urlencoded")
}

// TestAdminMetrics: however many scrape the main address, which answers few at once,
// the admin address has a place for the operator.
func TestAdminMetrics(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--admin", "127.0.0.1:0", "--metrics", "public")
	var over atomic.Bool
	var others sync.WaitGroup
	for range 16 {
		others.Go(func() {
			for !over.Load() {
				if resp, err := http.Get("http://" + p.addr + "/metrics"); err == nil {
					_ = resp.Body.Close() // whatever it was
				}
			}
		})
	}
	for range 20 {
		expectPage(t, "http://"+p.admin+"/metrics", 200, "millrace_loops")
	}
	over.Store(true)
	others.Wait()
}

// TestAdminTaken: the error names the flag.
func TestAdminTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	stdout, stderr, status := runToEnd(t, nil, "serve", "--listen", "127.0.0.1:0", "--admin", addr)
	expectCannotListen(t, stdout, stderr, status, "--admin "+addr+": the port is taken")
}

// TestHealthUnderLoad: while a single loop on a single processor echoes as much
// as it can, both addresses answer again and again.
func TestHealthUnderLoad(t *testing.T) {
	t.Parallel()
	p := serve(t, []string{"GOMAXPROCS=1"}, "--admin", "127.0.0.1:0", "--loops", "1")
	var echoed atomic.Int64
	for range 4 {
		go load(open(t, p.addr), &echoed)
	}
	for range 10 {
		goesOn(t, &echoed)
		for _, addr := range []string{p.addr, p.admin} {
			expectPage(t, "http://"+addr+"/healthz", http.StatusOK, "ok")
			expectPage(t, "http://"+addr+"/readyz", http.StatusOK, "ready")
		}
	}
}

// goesOn waits until more is echoed.
func goesOn(t *testing.T, echoed *atomic.Int64) {
	t.Helper()
	before, end := echoed.Load(), time.Now().Add(patience)
	for ; echoed.Load() < before+1<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the load has stopped")
		}
	}
}

// load keeps eight messages under way, less than the server queues, and counts
// what comes back until the connection ends.
func load(c *client, echoed *atomic.Int64) {
	const size = 60_000
	message := append(header(fin|opBinary, size), make([]byte, size)...)
	for range 8 {
		if _, err := c.Conn.Write(message); err != nil {
			return
		}
	}
	frame := make([]byte, 4+size) // without a mask
	for {
		if _, err := io.ReadFull(c.r, frame); err != nil {
			return
		}
		echoed.Add(size)
		if _, err := c.Conn.Write(message); err != nil {
			return
		}
	}
}
