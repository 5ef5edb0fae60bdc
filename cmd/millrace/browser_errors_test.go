package main_test

import (
	"strings"
	"testing"
)

// TestBrowserErrors makes mistakes on the page, and looks whether it says what to do.
func TestBrowserErrors(t *testing.T) {
	b := startBrowser(t)
	p := serve(t, nil, "--topics", "--max-message", "1k")
	other := serve(t, nil) // which lets no page of p in
	b.navigate("http://" + p.addr + "/")
	b.waitForText("#topics-state", "connected")

	b.click("#tab-socket")
	for typed, want := range map[string]string{
		"":                    `failed: "" is no address: write it as ws://host:port/path`,
		"ftp://a":             `failed: "ftp://a" is no address: write it as ws://host:port/path`,
		"/topics/a/#":         "failed: an address can not have a #: write it as %23",
		"/nowhere":            "failed: could not connect to ws://" + p.addr + "/nowhere: the server answers 404, there is nothing at /nowhere",
		other.addr:            "failed: could not connect to ws://" + other.addr + "/: nothing listens there, or the server refused: wrong path, origin",
		"wss://" + other.addr: "or this browser does not trust its certificate",
	} {
		b.run(`document.querySelector("#url").value = arguments[0]; document.querySelector("#connection").noValidate = true`, typed)
		b.click("#connect")
		b.waitForText("#state", want)
		b.expectFocus("connect")
	}
	for _, typed := range []string{p.addr + "/echo", "/echo", "http://" + p.addr + "/echo"} {
		b.typeInto("#url", typed)
		b.click("#connect")
		b.waitForText("#state", "connected")
		b.waitForText("#log .opened:last-child", "connected to ws://"+p.addr+"/echo")
		b.click("#disconnect")
		b.waitForText("#state", "disconnected")
	}
	b.click("#connect")
	b.waitForText("#state", "connected")
	const shorter = "send a shorter one, or let the server take longer ones with --max-message"
	long := strings.Repeat("x", 1025)
	b.run(`
		window.states = [];
		new MutationObserver(() => states.push(document.querySelector("#state").textContent)).observe(document.querySelector("#state"), { childList: true });
		document.querySelector("#message").value = arguments[0]`, long)
	b.click("#send")
	b.waitUntil("it says what to do", func() bool {
		states, _ := b.run(`return states.join()`).(string)
		return strings.Contains(states, "lost: code 1009 message over the limit: "+shorter+". Tries again")
	})

	b.click("#tab-topics")
	b.run(`document.querySelector("#publish-message").value = arguments[0]`, long)
	b.click("#publish")
	b.waitForText("#published", "the connection ended before the answer: message over the limit: "+shorter)
	b.typeInto("#topic", "a/#/b")
	b.click("#subscribe")
	b.waitForText("#subscribed", `not a topic's name: "a/#/b" has # before the last level`)
	b.typeInto("#topic", "a")
	b.click("#subscribe")
	b.waitForText("#topics .name", "a")
	if text := b.text("#subscribed"); text != "" {
		t.Errorf("it still says %q", text)
	}
	b.keys("#topic", enter)
	b.waitForText("#subscribed", "subscribed to it already")
	b.click("#topics-disconnect")
	b.typeInto("#server", p.addr)
	b.click("#topics-connect")
	b.waitForText("#topics-state", "connected")
	b.click("#topics-disconnect")
	b.typeInto("#server", p.addr+"/nowhere")
	b.click("#topics-connect")
	b.waitForText("#topics-state", "answered 404 page not found: is that a server with topics?")
}
