package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// enter is the Enter key, and shiftEnter one with Shift held (WebDriver, section
// 17.4.2).
const (
	enter      = "\ue007"
	shiftEnter = "\ue008\ue007\ue000"
)

// TestBrowser uses the page as a person does: connects, sends, disconnects,
// tries an address that is none, and sees the server go. With
// MILLRACE_SCREENSHOTS it leaves pictures in that folder.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	p := serve(t, nil)
	b.navigate("http://" + p.addr + "/")
	b.waitForText("#state", "disconnected")
	shoot(b, "1-begin.png")

	b.click("#connect")
	b.waitForText("#state", "connected")
	b.waitForText("#log", "connected to ws://"+p.addr+"/echo")
	b.typeInto("#message", "Grüße <b>aus</b> der Mühle")
	b.click("#send")
	b.waitForText("#log .sent", "→ out", "Grüße <b>aus</b> der Mühle", "(29 bytes)")
	b.waitForText("#log .received", "← in", "Grüße <b>aus</b> der Mühle", "(29 bytes)")
	b.typeInto("#message", "two"+shiftEnter+"lines"+enter)
	b.waitForText("#log .received:last-child", "two\nlines", "(9 bytes)")
	b.waitForText("#count", "2 sent, 2 received")
	b.choose("#kind", "hex")
	b.typeInto("#message", "00 FF 0x0a 7")
	b.click("#send")
	b.waitForText("#log .error:last-child", "hex is pairs of the digits")
	b.keys("#message", "f"+enter)
	b.waitForText("#log .received:last-child", "00 ff 0a 7f", "(4 bytes)")
	b.choose("#kind", "text")
	long := strings.Repeat("a long message ", 500)
	b.run(`document.querySelector("#message").value = arguments[0]`, long)
	b.click("#send")
	b.waitForText("#log .received:last-child", "a long message a long", "all 7,500 characters", "(7,500 bytes)")
	if text := b.text("#log .received:last-child"); len(text) > 400 {
		t.Errorf("a long message is shown in %d bytes", len(text))
	}
	b.click("#log .received:last-child summary")
	b.waitForText("#log .received:last-child .whole", strings.TrimSpace(long))
	shoot(b, "2-echoed.png")

	b.click("#disconnect")
	b.waitForText("#log .closed", "× close", "code 1000 normal after ")
	b.waitForText("#state", "disconnected")

	b.typeInto("#url", "ws://"+p.addr+"/nowhere")
	b.click("#connect")
	b.waitForText("#log .error:last-child", "could not connect to ws://"+p.addr+"/nowhere: the server answers 404, there is nothing at /nowhere")
	b.waitForText("#state", "failed")
	for _, line := range b.complaints() {
		if !isRefusal(line) {
			t.Errorf("console: %s", line)
		}
	}

	b.click("#clear")
	b.typeInto("#url", "ws://"+p.addr+"/echo"+enter)
	b.waitForText("#log", "connected to ")
	p.signal(syscall.SIGTERM)
	b.waitForText("#log .closed", "code 1001 server shutting down after ")
	p.expectStatus(0, `msg="drain over"`)
	shoot(b, "3-gone.png")
}

// TestBrowserDeflate: what Chromium compresses is read, and the other way round,
// with and without a context; the metrics tell that both did.
func TestBrowserDeflate(t *testing.T) {
	b := startBrowser(t)
	for _, flags := range []string{"--deflate=on", "--deflate=takeover", "--deflate=takeover --deflate-window=9 --deflate-level=9", "--deflate=on --deflate-threshold=1 --deflate-window=10"} {
		p := serve(t, nil, strings.Fields(flags)...)
		b.navigate("http://" + p.addr + "/")
		b.click("#connect")
		b.waitForText("#state", "connected")
		for i := range 4 {
			text := fmt.Sprint("message ", i, strings.Repeat(" Grüße aus der Mühle", 20+i))
			b.typeInto("#message", text+enter)
			b.waitForText("#log .received:last-child", text)
		}
		b.waitForText("#count", "4 sent, 4 received")
		for _, line := range []string{"millrace_messages_inflated_total 4\n", "millrace_messages_deflated_total 4\n"} {
			expectPage(t, "http://"+p.addr+"/metrics", 200, line)
		}
		p.signal(syscall.SIGTERM)
		p.expectStatus(0, `msg="drain over"`)
	}
}

// isRefusal: the browser itself reports the connection that is refused on purpose, and that the page has asked why.
func isRefusal(line string) bool {
	return strings.Contains(line, "/nowhere' failed:") || strings.Contains(line, "/nowhere - Failed to load resource")
}

func shoot(b *browser, name string) {
	if dir := os.Getenv("MILLRACE_SCREENSHOTS"); dir != "" {
		b.screenshot(filepath.Join(dir, name))
	}
}
