package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// node is Node with a WebSocket. The test is skipped where there is none.
func node(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node: install Debian's package nodejs")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	t.Cleanup(cancel)
	if exec.CommandContext(ctx, path, "-p", "WebSocket").Run() != nil { // older than 22
		const flag = "--experimental-websocket"
		if exec.CommandContext(ctx, path, flag, "-p", "WebSocket").Run() != nil {
			t.Skip("Node is older than 20: it has no WebSocket")
		}
		args = append([]string{flag}, args...)
	}
	return exec.CommandContext(ctx, path, args...)
}

// post publishes, straight to a server.
func post(t *testing.T, addr, topic, text string) {
	t.Helper()
	resp, err := http.Post("http://"+addr+"/topics/"+topic, "text/plain", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
}

// followed is what testdata/follow.mjs tells.
type followed struct {
	Error     string
	Followers []struct {
		Transport                     string
		Last, Told, Slow, Connections int
	}
	Publishers []struct {
		Transport     string
		Done, Unknown []string
	}
}

// TestTopicsJavaScript is TestTopicsResume with millrace.js: behind cuts at any byte, a drain and a kill, each follower has every
// message once, in order, or was told; and a publication that was confirmed is there once, one whose fate is unknown at most once.
func TestTopicsJavaScript(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(3, 4))
	behind := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return 1 + random.Int64N(1<<uint(7+random.IntN(9)))
	}
	proxy, publishProxy := startLossyProxy(t, behind), startLossyProxy(t, behind)
	const each, restarts = 400, 2
	const end = each * (restarts + 1)
	const publications = 150
	flags := []string{"--topics", "--topics-rule", "# messages=10000", "--drain-timeout", "100ms", "--drain-rate", "0"}
	p := serve(t, nil, flags...)
	proxy.to.Store(p.addr)
	staying := serve(t, nil, flags...)
	publishProxy.to.Store(staying.addr)
	cmd := node(t, "testdata/follow.mjs", "http://"+proxy.ln.Addr().String(), fmt.Sprint(end), "http://"+publishProxy.ln.Addr().String(), fmt.Sprint(publications))
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewReader(out)
	post(t, p.addr, "a", "1")
	line, _ := told.ReadString('\n') // what it says tells more than an error
	if line != "following\n" {
		t.Fatalf("%s\n%s", line, errors.String())
	}
	for n := 2; n <= end; n++ {
		post(t, p.addr, "a", fmt.Sprint(n))
		if n%each == 0 && n < end {
			if n == each {
				p.signal(syscall.SIGTERM)
				p.status()
			} else {
				p.end()
			}
			p = serve(t, nil, flags...) // what it had kept is gone
			proxy.to.Store(p.addr)
		}
	}
	var f followed
	if err := json.NewDecoder(told).Decode(&f); err != nil || f.Error != "" {
		t.Fatalf("%v: %+v\n%s", err, f, errors.String())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	f.check(t, end, restarts)
	if proxy.cuts.Load() < 30 {
		t.Errorf("only %d cuts", proxy.cuts.Load())
	}
	f.checkPublished(t, kept(t, staying.addr, "b"), publications)
}

// check looks at what the followers have.
func (f *followed) check(t *testing.T, end, restarts int) {
	t.Helper()
	for _, c := range f.Followers {
		t.Logf("by %s: %d connections, told of gaps %d times", c.Transport, c.Connections, c.Told)
		if c.Last != end || c.Told > restarts {
			t.Errorf("by %s: %d messages, told of gaps %d times", c.Transport, c.Last, c.Told)
		}
	}
}

// checkPublished holds what publishers know against what is there, counted by text.
func (f *followed) checkPublished(t *testing.T, counts map[string]int, publications int) {
	t.Helper()
	for _, c := range f.Publishers {
		t.Logf("by %s: %d published, of %d it is not known", c.Transport, len(c.Done), len(c.Unknown))
		for _, text := range c.Done {
			if counts[text] != 1 {
				t.Errorf("%q was confirmed, and is there %d times", text, counts[text])
			}
		}
		for _, text := range c.Unknown {
			if counts[text] > 1 {
				t.Errorf("%q is there %d times", text, counts[text])
			}
		}
		if len(c.Done) == 0 || len(c.Done)+len(c.Unknown) != publications {
			t.Errorf("by %s: %d and %d", c.Transport, len(c.Done), len(c.Unknown))
		}
	}
}

// kept counts the texts in a topic's history.
func kept(t *testing.T, addr, topic string) map[string]int {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/history/" + topic + "?limit=1000")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var history struct{ Messages []struct{ Data string } }
	if err := json.NewDecoder(resp.Body).Decode(&history); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, m := range history.Messages {
		counts[m.Data]++
	}
	return counts
}

// TestTopicsJavaScriptTalk has millrace.js do all that it can, by both transports.
func TestTopicsJavaScriptTalk(t *testing.T) {
	if testing.Short() {
		t.Skip("left to make thorough: tokens end after seconds")
	}
	t.Parallel()
	const secret = "a secret of more than thirty-two bytes"
	p := serve(t, nil, "--topics", "--topics-jwt-secret", tempFile(t, "secret", secret+"\n"), "--topics-rule", "# messages=100 presence")
	other, limited := serve(t, nil), serve(t, nil, "--topics", "--message-rate", "50")
	out, err := node(t, "testdata/talk.mjs", "http://"+p.addr, secret, "http://"+other.addr, "http://"+limited.addr).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "talked\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestJavaScriptRules has millrace.js meet servers that do what ours seldom do.
func TestJavaScriptRules(t *testing.T) {
	t.Parallel()
	out, err := node(t, "testdata/rules.mjs").CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "ruled\n") {
		t.Errorf("%v: %s", err, out)
	}
}
