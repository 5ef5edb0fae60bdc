package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestBrowserPageTopics uses the page's topics as a person does: subscribes, publishes texts and bytes, sees the charts, and goes on behind
// what it had when the server comes again.
func TestBrowserPageTopics(t *testing.T) {
	b := startBrowser(t)
	b.emulate("light", 900, 1100)
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	flags := []string{"--listen", addr, "--topics", "--topics-rule", "# messages=1000"}
	p := serve(t, nil, flags...)
	b.navigate("http://" + addr + "/")
	b.waitForText("#topics-state", "connected")
	b.click("#subscribe")
	b.waitForText("#messages", "subscribed, 0 of the past")
	b.click("#publish-message")
	if selected := b.run(`return getSelection().toString() || document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)`); selected != "Hello, millrace" {
		t.Errorf("on focus %q is selected", selected)
	}
	b.keys("#publish-message", "Grüße <b>aus</b> der Mühle"+enter)
	b.waitForText("#messages .received", "← in", "rooms/hall", "Grüße <b>aus</b> der Mühle", "(29 bytes)")
	b.waitForText("#published", "published to 1 subscriber in ")
	b.choose("#publish-kind", "hex")
	b.typeInto("#publish-message", "00 ff 0a"+enter)
	b.waitForText("#messages .received:last-child", "00 ff 0a", "(3 bytes)")
	b.typeInto("#publish-message", "0"+enter)
	b.waitForText("#published", "hex is pairs of the digits")
	b.typeInto("#topic", "rooms/+")
	b.click("#subscribe")
	b.waitForText("#topics li:last-child .name", "rooms/+")
	for n := range 40 {
		post(t, addr, "rooms/hall", fmt.Sprintf("message %d%s", n, strings.Repeat(" and more", n%3*60)))
	}
	b.waitForText("#messages", "message 39")
	b.waitUntil("the rates of a chart are those of 42 messages, in whichever seconds they came", func() bool {
		return b.run(`
			const chart = document.querySelector("#topics .chart"), label = chart.getAttribute("aria-label");
			const most = Number(/most (\d+)\/s$/.exec(label)?.[1]);
			const heights = [...chart.firstChild.getAttribute("d").matchAll(/L\d+ ([\d.]+)/g)].map(m => (100 - m[1]) / 92);
			return Math.round(most * heights.reduce((sum, h) => sum + h, 0))`) == 42.0
	})
	shoot(b, "4-topics-light.png")
	b.emulate("dark", 900, 1100)
	shoot(b, "5-topics-dark.png")
	b.emulate("dark", 390, 1800)
	shoot(b, "6-topics-phone.png")
	if wide := b.run(`return document.documentElement.scrollWidth`); wide != 390.0 {
		t.Errorf("on a phone of 390 pixels the page has %v", wide)
	}
	b.emulate("light", 900, 1100)

	p.signal(syscall.SIGTERM)
	p.expectStatus(0, `msg="drain over"`)
	b.waitForText("#topics-state", "could not connect to http://"+addr+": nothing listens there, or the server refused: wrong path, origin", "Tries again")
	b.waitUntil("it counts the seconds", func() bool {
		text, _ := b.run(`return document.querySelector("#topics-state").parentElement.textContent`).(string)
		return countdown.MatchString(text)
	})
	shoot(b, "7-topics-away.png")
	serve(t, nil, flags...)
	b.run(`document.querySelector("#topics-connect").click()`) // it says Try now, if it waits
	b.waitForText("#topics-state", "connected")
	b.waitForText("#topics-count", "2 published, 42 received") // once each, though two subscriptions have them
	b.waitForText("#messages", "messages may be missing here: the history does not reach back")
	b.click("#topics .small")
	b.waitForText("#messages", "unsubscribed")
	b.click("#topics-disconnect")
	b.waitForText("#topics-state", "disconnected")
	for _, line := range b.complaints() {
		if !strings.Contains(line, "ERR_CONNECTION_") && !strings.Contains(line, "status of 503") { // while the server was going, and away
			t.Errorf("console: %s", line)
		}
	}
}

// TestBrowserPageAccessible: each field has a name, what happens is told, and the keyboard does everything.
func TestBrowserPageAccessible(t *testing.T) {
	b := startBrowser(t)
	p := serve(t, nil, "--topics")
	b.navigate("http://" + p.addr + "/")
	b.waitForText("#topics-state", "connected")
	nameless := b.run(`return [...document.querySelectorAll("input, textarea, select, button, [role=log], [role=img], section, ul")]
		.filter(e => !(e.labels && e.labels.length && e.labels[0].textContent.trim()) && !e.getAttribute("aria-label") && !e.textContent.trim()).map(e => e.outerHTML)`)
	if list, _ := nameless.([]any); len(list) > 0 {
		t.Errorf("without a name: %v", list)
	}
	for _, id := range []string{"#topics-state", "#state"} {
		if role := b.run(`return document.querySelector(arguments[0]).getAttribute("role")`, id); role != "status" {
			t.Errorf("%s has role %v", id, role)
		}
	}
	b.keys("#tab-topics", "\ue014") // the right arrow
	b.expectFocus("tab-socket")
	b.keys("#url", enter)
	b.waitForText("#state", "connected")
	b.expectFocus("message")
	b.keys("#message", "by keys"+enter)
	b.waitForText("#log .received", "by keys")
	// A button that can not be used any more passes the focus on.
	b.keys("#disconnect", enter)
	b.waitForText("#state", "disconnected")
	b.expectFocus("connect")
	b.keys("#connect", enter)
	b.waitForText("#state", "connected")
	b.expectFocus("message")
	b.keys("#kind", "hex") // the keyboard chooses by the first letters
	b.typeInto("#message", "68 65 78"+enter)
	b.waitForText("#log .received:last-child", "68 65 78")
	b.keys("#tab-socket", "\ue012") // the left arrow
	b.keys("#topics-disconnect", enter)
	b.waitForText("#topics-state", "disconnected")
	b.expectFocus("topics-connect")
	b.keys("#topics-connect", enter)
	b.waitForText("#topics-state", "connected")
	b.expectFocus("topic")
	b.keys("#topic", enter)
	b.waitForText("#topics li", "rooms/hall")
	b.keys("#publish-message", "by keys too"+enter)
	b.waitForText("#messages .received", "by keys too")
	b.keys("#topics .small", enter)
	b.waitForText("#messages", "unsubscribed")
	b.expectFocus("topic")
}
