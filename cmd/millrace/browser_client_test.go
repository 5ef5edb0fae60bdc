package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// TestBrowserClient runs millrace.js in Chromium, as a script and as a module, behind cuts at any byte.
func TestBrowserClient(t *testing.T) {
	b := startBrowser(t)
	p := serve(t, nil, "--topics", "--topics-rule", "# messages=10000")
	var n atomic.Int64
	proxy := startLossyProxy(t, func() int64 { return 60000 + n.Add(977)%20000 }) // the page itself has to come through
	proxy.to.Store(p.addr)
	b.navigate("http://" + proxy.ln.Addr().String() + "/echo") // 426, and of the server's origin: without the page's policy
	b.run(`
		window.seen = {};
		const script = document.createElement("script");
		script.src = "/millrace.js";
		script.onload = () => {
			window.asScript = typeof Millrace;
			for (const transport of ["websocket", "events"]) {
				const s = seen[transport] = { last: 0, wrong: 0, gaps: 0, opened: 0 };
				const client = new Millrace("", { transports: [transport], backOff: { least: 5, most: 50 }, onState: c => { if (c.state === "open") s.opened++; } });
				client.subscribe("a", m => { if (Number(m.data.trim()) !== ++s.last) s.wrong++; }, { last: 10000, onGap: () => s.gaps++ });
			}
			import("/millrace.js").then(() => { window.asModule = typeof Millrace; });
		};
		document.head.append(script);`)
	const end = 1000
	for i := 1; i <= end; i++ {
		post(t, p.addr, "a", fmt.Sprint(i, strings.Repeat(" ", 300)))
	}
	var seen map[string]struct{ Last, Wrong, Gaps, Opened int }
	b.waitUntil("all messages are there", func() bool {
		text, err := json.Marshal(b.run(`return window.seen`))
		if err != nil || json.Unmarshal(text, &seen) != nil {
			return false
		}
		return seen["websocket"].Last >= end && seen["events"].Last >= end
	})
	for transport, s := range seen {
		t.Logf("by %s: %d connections", transport, s.Opened)
		if s.Last != end || s.Wrong > 0 || s.Gaps > 0 || s.Opened < 3 {
			t.Errorf("by %s: %+v", transport, s)
		}
	}
	if kinds := b.run(`return window.asScript + " " + window.asModule`); kinds != "function function" {
		t.Errorf("as a script and as a module: %v", kinds)
	}
}

// TestBrowserClientDocs runs the first and the last example of docs/client.md, also behind a restart of the server, and reads the others.
func TestBrowserClientDocs(t *testing.T) {
	b := startBrowser(t)
	blocks := javaScriptIn(t, "client.md")
	if len(blocks) < 5 {
		t.Fatalf("only %d examples", len(blocks))
	}
	flags := []string{"--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "--topics", "--topics-rule", "# messages=100"}
	p := serve(t, nil, flags...)
	b.navigate("http://" + p.addr + "/echo") // 426: a page without the policy of /
	b.run(`
		window.seen = [];
		window.show = text => seen.push("shown " + text);
		window.reload = () => seen.push("reloaded");
		console.log = text => seen.push("logged " + text);
		const script = document.createElement("script");
		script.src = "/millrace.js";
		script.onload = () => { window.loaded = true; };
		document.head.append(script);`)
	b.waitUntil("the script is loaded", func() bool { return b.run(`return window.loaded`) == true })
	for _, block := range blocks {
		b.run(`new (Object.getPrototypeOf(async function () {}).constructor)(arguments[0])`, block) // a syntax error fails
	}
	b.run(blocks[0])
	b.waitUntil("the first example has its message", func() bool { return b.run(`return seen.join()`) == "logged hello" })
	b.run(blocks[len(blocks)-1])
	post(t, p.addr, "rooms/hall", "to all")
	b.waitUntil("the last example too", func() bool {
		seen, _ := b.run(`return seen.sort().join()`).(string)
		return seen == "logged hello,logged to all,shown hello,shown to all"
	})
	p.end()
	p = serve(t, nil, flags...) // without what was kept
	b.waitUntil("the last example is told that something is missing", func() bool { return b.run(`return seen.includes("reloaded")`) == true })
	post(t, p.addr, "rooms/hall", "once more")
	b.waitUntil("both go on", func() bool {
		seen, _ := b.run(`return seen.slice(4).sort().join()`).(string)
		return seen == "logged once more,reloaded,shown once more"
	})
}

// javaScriptIn are the blocks of JavaScript in a page of the docs.
func javaScriptIn(t *testing.T, page string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, found[1])
	}
	return blocks
}
