package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium, driven through chromedriver with the calls of
// W3C WebDriver. Its methods fail the test.
type browser struct {
	t       *testing.T
	base    string // chromedriver's address
	session string
}

// elementKey is the name of an element's reference (WebDriver, section 12).
const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// startBrowser skips the test where Chromium and its driver are not installed, and with
// -short.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("left to make thorough: a browser takes seconds, and has to be installed")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no browser: install Debian's packages chromium and chromium-driver")
	}
	chromedriver, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Skip("no chromedriver: install Debian's package chromium-driver")
	}
	port := freePort(t)
	driver := exec.Command(chromedriver, fmt.Sprintf("--port=%d", port))
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = driver.Process.Kill() // the session, and so Chromium, ended before
		_ = driver.Wait()         // killed
	})
	b := &browser{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	b.waitUntil("chromedriver is ready", func() bool {
		resp, err := http.Get(b.base + "/status")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	b.openSession(chromium)
	return b
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// openSession starts Chromium with a profile of its own and with all that would
// look for other hosts turned off.
func (b *browser) openSession(chromium string) {
	b.t.Helper()
	args := []string{
		"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=900,900",
		"--user-data-dir=" + b.t.TempDir(),
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium has no sandbox for root
	}
	var session struct{ SessionID string }
	b.call("POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":         "chrome",
		"acceptInsecureCerts": true, // of the tests' own servers
		"goog:chromeOptions":  map[string]any{"binary": chromium, "args": args},
		"goog:loggingPrefs":   map[string]any{"browser": "ALL"},
		"timeouts":            map[string]any{"implicit": patience.Milliseconds()}, // for an element to appear
	}}}, &session)
	b.session = "/session/" + session.SessionID
	b.t.Cleanup(func() { b.call("DELETE", b.session, nil, nil) })
}

// call sends one command; to, if not nil, is for the value of the answer.
func (b *browser) call(method, path string, body, to any) {
	b.t.Helper()
	if body == nil {
		body = struct{}{}
	}
	text, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequest(method, b.base+path, bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	client := http.Client{Timeout: 2 * patience}
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s, %v: %.600s", method, path, resp.Status, err, answer)
	}
	value := struct{ Value any }{to}
	if err := json.Unmarshal(answer, &value); err != nil {
		b.t.Fatalf("%s %s: %v in %.600s", method, path, err, answer)
	}
}

func (b *browser) navigate(url string) {
	b.t.Helper()
	b.call("POST", b.session+"/url", map[string]string{"url": url}, nil)
}

// element gives the path of the commands for the first element of the selector.
func (b *browser) element(selector string) string {
	b.t.Helper()
	var found map[string]string
	b.call("POST", b.session+"/element", map[string]string{"using": "css selector", "value": selector}, &found)
	return b.session + "/element/" + found[elementKey]
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/click", nil, nil)
}

// typeInto replaces what stands in an input.
func (b *browser) typeInto(selector, text string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/clear", nil, nil)
	b.keys(selector, text)
}

func (b *browser) keys(selector, text string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/value", map[string]string{"text": text}, nil)
}

func (b *browser) text(selector string) (text string) {
	b.t.Helper()
	b.call("GET", b.element(selector)+"/text", nil, &text)
	return text
}

// expectFocus fails the test if another element than that of the id has the focus.
func (b *browser) expectFocus(id string) {
	b.t.Helper()
	if focus := b.run(`return document.activeElement.id`); focus != id {
		b.t.Errorf("%q has the focus, want %q", focus, id)
	}
}

// waitForText waits until an element's text has all the words.
func (b *browser) waitForText(selector string, words ...string) {
	b.t.Helper()
	b.waitUntil(fmt.Sprintf("%s has %q", selector, words), func() bool {
		text := b.text(selector)
		for _, word := range words {
			if !strings.Contains(text, word) {
				return false
			}
		}
		return true
	})
}

func (b *browser) waitUntil(what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// complaints are the errors and warnings on the page's console.
func (b *browser) complaints() (lines []string) {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.call("POST", b.session+"/se/log", map[string]string{"type": "browser"}, &entries)
	for _, e := range entries {
		lines = append(lines, e.Level+": "+e.Message)
	}
	return lines
}

// run runs JavaScript in the page.
func (b *browser) run(script string, args ...any) (value any) {
	b.t.Helper()
	if args == nil {
		args = []any{}
	}
	b.call("POST", b.session+"/execute/sync", map[string]any{"script": script, "args": args}, &value)
	return value
}

// choose takes an option of a select.
func (b *browser) choose(selector, value string) {
	b.t.Helper()
	b.click(selector + " option[value=" + value + "]")
}

// emulate has Chromium show the page in a mode, light or dark, and in a size.
func (b *browser) emulate(mode string, width, height int) {
	b.t.Helper()
	for _, c := range []struct {
		command string
		params  map[string]any
	}{
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": mode}}}},
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}},
	} {
		b.call("POST", b.session+"/goog/cdp/execute", map[string]any{"cmd": c.command, "params": c.params}, nil)
	}
}

// screenshot writes what the window shows to the file.
func (b *browser) screenshot(file string) {
	b.t.Helper()
	var text string
	b.call("GET", b.session+"/screenshot", nil, &text)
	png, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
