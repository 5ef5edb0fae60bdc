package main_test

import (
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// countdown is when the page tries again.
var countdown = regexp.MustCompile(`\. Tries again in \d+ s$`)

// TestBrowserReconnect loses the WebSocket of the page: it is opened again by itself, at once when the user asks for it, and not after
// he has stopped it or disconnected. Meanwhile the page tells, and takes the focus from nobody.
func TestBrowserReconnect(t *testing.T) {
	b := startBrowser(t)
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := serve(t, nil, "--listen", addr)
	b.navigate("http://" + addr + "/")
	b.run(`
		window.made = 0;
		WebSocket = class extends WebSocket { constructor(...args) { super(...args); made++; } };`)
	b.keys("#connect", enter)
	b.waitForText("#state", "connected")

	lose := func() {
		p.end()
		b.waitForText("#state", "lost: ", "Tries again")
		b.waitUntil("it counts the seconds", func() bool {
			text, _ := b.run(`return document.querySelector("#state").parentElement.textContent`).(string)
			return countdown.MatchString(text)
		})
		for selector, want := range map[string]string{"#connect": "Try now", "#disconnect": "Stop"} {
			if text := b.text(selector); text != want {
				t.Errorf("%s says %q, want %q", selector, text, want)
			}
		}
	}
	b.run(`document.querySelector("#kind").focus()`)
	lose()
	b.waitUntil("it has tried in vain", func() bool { return b.run(`return made > 3`) == true })
	b.waitForText("#log .closed", "code 1006 broken off without a close frame after ")
	if lines := b.run(`return document.querySelectorAll("#log .error").length`); lines != 1.0 {
		t.Errorf("the log tells %v times that nothing listens there", lines)
	}
	p = serve(t, nil, "--listen", addr)
	b.waitForText("#state", "connected") // by itself
	b.expectFocus("kind")
	b.typeInto("#message", "again"+enter)
	b.waitForText("#log .received:last-child", "again")

	lose()
	p = serve(t, nil, "--listen", addr)
	b.run(`const now = document.querySelector("#connect"); now.focus(); now.click()`) // Try now; or it has been faster
	b.waitForText("#state", "connected")
	b.expectFocus("message")

	lose()
	b.click("#disconnect")
	b.expectStopped()
	b.keys("#url", enter)
	b.waitForText("#state", "failed: could not connect to ws://"+addr+"/echo: nothing listens there")
	b.expectStopped() // it never was open

	p = serve(t, nil, "--listen", addr)
	b.keys("#connect", enter)
	b.waitForText("#state", "connected")
	b.click("#disconnect")
	b.waitForText("#log .closed:last-child", "code 1000")
	b.expectStopped()
}

// expectStopped: the WebSocket is not opened again, also not when that would be done at once.
func (b *browser) expectStopped() {
	b.t.Helper()
	b.waitUntilOff()
	made := b.run(`const before = made; window.dispatchEvent(new Event("online")); return made - before`)
	if text := b.text("#connect"); text != "Connect" || made != 0.0 {
		b.t.Errorf("the button says %q, and %v were opened", text, made)
	}
	if text := b.text("#state"); strings.Contains(text, "Tries again") {
		b.t.Errorf("it says %q", text)
	}
}

func (b *browser) waitUntilOff() {
	b.t.Helper()
	b.waitUntil("the WebSocket is off", func() bool { return b.run(`return document.querySelector("#disconnect").disabled`) == true })
}

// closing is a server that closes a connection as a message says: with a code and a reason. At "block" it does nothing more.
func closing(t *testing.T) (addr string) {
	t.Helper()
	srv := &server.Server{
		Logger: slog.New(slog.DiscardHandler), Origin: server.Origin{Allow: []string{"*"}},
		Handler: server.MessageFunc(func(c *server.Conn, m ws.Message) {
			code, reason, _ := strings.Cut(string(m.Payload), " ")
			if code == "block" {
				<-t.Context().Done()
			}
			n, _ := strconv.Atoi(code)
			_ = c.Close(ws.Code(n), reason) // the browser sees
		}),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeListener(ln) }()
	t.Cleanup(func() {
		_ = srv.Close() // always nil
		<-served
	})
	return ln.Addr().String()
}

// TestBrowserReconnectCodes: whether the WebSocket of the page is opened again depends on the close code, as millrace.js has it.
func TestBrowserReconnectCodes(t *testing.T) {
	b := startBrowser(t)
	addr := closing(t)
	p := serve(t, nil)
	b.navigate("http://" + p.addr + "/")
	b.run(`window.made = 0; WebSocket = class extends WebSocket { constructor(...args) { super(...args); made++; } };`)
	b.typeInto("#url", addr)                           // a scheme is added
	for _, test := range []struct{ end, told string }{ // told: it is not opened again
		{"1001 bye", ""}, {"1012 ", ""}, {"1011 broken", ""}, {"1009 message over the limit", ""}, {"1008 too many messages a second", ""}, {"4000 mine", ""},
		{"1000 done", "ended by the server: code 1000 done"},
		{"1008 some policy", "refused: code 1008 some policy"},
		{"1008 bad_request: no", "refused: code 1008 bad_request: no"},
		{"3000 unauthorized: no", "refused: code 3000 unauthorized: no: put a valid key or token into the address, as ?token="},
		{"3003 forbidden: no", "refused: code 3003 forbidden: no: bring a token with the right to it"},
		{"4410 history_gone: no", "refused: code 4410 history_gone: no: take since out of the address"},
	} {
		t.Run(test.end, func(t *testing.T) {
			b := &browser{t: t, base: b.base, session: b.session}
			b.run(`document.querySelector("#disconnect").click()`) // what failed before is forgotten
			b.waitUntilOff()
			b.click("#clear")
			b.keys("#connect", enter)
			b.waitForText("#state", "connected")
			b.typeInto("#message", test.end+enter)
			b.waitForText("#log .closed", "code "+strings.TrimSpace(test.end))
			if test.told == "" {
				b.waitForText("#log .closed ~ .opened", "connected to ws://"+addr+"/")
				return
			}
			b.waitForText("#state", test.told)
			b.expectStopped()
		})
	}
	b.keys("#connect", enter)
	b.waitForText("#state", "connected")
	b.typeInto("#message", "block"+enter)
	b.waitForText("#log .sent:last-child", "block")
	b.click("#disconnect")
	b.waitForText("#log .closed:last-child", "code 1006 no answer after ")
	b.expectStopped()
}
