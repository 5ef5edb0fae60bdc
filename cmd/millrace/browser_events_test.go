package main_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// eventsPage shows what an EventSource gets, as docs/event-streams.md has it.
const eventsPage = `<!doctype html><meta charset=utf-8><ul id=log></ul><script>
const log = (text) => { const li = document.createElement("li"); li.textContent = text; document.querySelector("#log").append(li); };
const source = new EventSource("/feed");
source.onopen = () => log("open");
source.onmessage = e => log("message " + JSON.stringify(e.data) + " id " + e.lastEventId);
source.addEventListener("tick", e => log("tick " + e.data + " id " + e.lastEventId));
source.addEventListener("close", e => {
  const {code, reason} = JSON.parse(e.data);
  log("close " + code + " " + reason);
});
source.onerror = () => log(source.readyState == EventSource.CLOSED ? "gave up" : "comes back");
</script>`

// eightPage has more streams than a browser has connections to a host over HTTP/1.1.
const eightPage = `<!doctype html><ul id=log></ul><script>
let open = 0;
for (let i = 0; i < 8; i++) new EventSource("/feed?" + i).addEventListener("tick", () => {
  const li = document.createElement("li"); li.textContent = ++open + " ticked"; document.querySelector("#log").append(li);
});
</script>`

// feed is a server of eventsPage and its stream, of whose connections it tells.
func feed(addr, page string, conns chan<- *server.Conn) *server.Server {
	return &server.Server{
		Addr: addr, EventStreams: true, Logger: slog.New(slog.DiscardHandler),
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, page) }), // the browser sees
		Upgrade: func(r *ws.Request) (server.Accept, error) {
			if r.Header("Last-Event-ID") == "e-last" {
				return server.Accept{}, &ws.Refusal{Status: http.StatusNoContent}
			}
			return server.Accept{EventStream: true, KeepRequest: true}, nil
		},
		Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) {
			_ = c.SendEvent(sse.Event{Name: "tick", Data: fmt.Appendf(nil, "since %q", c.Request().Header("Last-Event-ID")), Retry: 50 * time.Millisecond}) // the browser sees
			conns <- c
		}},
	}
}

// TestBrowserEventSource: Chromium's EventSource shows what is sent, comes back to where it was
// after each end, also to another server behind a drain, and stays away when it is told so.
func TestBrowserEventSource(t *testing.T) {
	b := startBrowser(t)
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	conns := make(chan *server.Conn, 1)
	run := func(srv *server.Server) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- srv.Run(ctx, server.DrainOptions{}) }()
		b.waitUntil("the server is ready", srv.Ready)
		return func() {
			cancel()
			if err := <-ran; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	stop := run(feed(addr, eventsPage, conns))
	b.navigate("http://" + addr + "/")
	c := <-conns
	_ = c.SendText("Grüße <b>aus</b>\nder Mühle")
	_ = c.SendEvent(sse.Event{ID: "e-2", Data: []byte("two")})
	b.waitForText("#log", "open", `tick since "" id`, `message "Grüße <b>aus</b>\nder Mühle" id`, `message "two" id e-2`)
	_ = c.Close(4000, "once more")
	b.waitForText("#log", "close 4000 once more", "comes back", `tick since "e-2" id e-2`)
	c = <-conns
	_ = c.SendEvent(sse.Event{ID: "e-3", Data: []byte("three")})
	b.waitForText("#log", `message "three" id e-3`)
	stop()
	b.waitForText("#log", "close 1001 server shutting down")
	stop = run(feed(addr, eventsPage, conns))
	defer stop()
	c = <-conns
	b.waitForText("#log", `tick since "e-3" id e-3`)
	_ = c.SendEvent(sse.Event{ID: "e-last", Data: []byte("the last")})
	b.waitForText("#log", `message "the last" id e-last`)
	_ = c.Close(ws.CodeNormal, "over")
	b.waitForText("#log", "close 1000 over", "gave up")
}

// TestBrowserEventSourceDocs: the lines of docs/gateway.md for an EventSource come back also behind the 502 of a proxy whose server is away.
func TestBrowserEventSourceDocs(t *testing.T) {
	b := startBrowser(t)
	blocks := slices.DeleteFunc(javaScriptIn(t, "gateway.md"), func(block string) bool { return !strings.Contains(block, "new EventSource") })
	if len(blocks) != 1 {
		t.Fatalf("%d examples", len(blocks))
	}
	flags := []string{"--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "--topics", "--topics-rule", "# messages=100"}
	p := serve(t, nil, flags...)
	b.navigate("http://" + p.addr + "/echo") // 426: a page without the policy of /
	b.run(`
		window.seen = [];
		window.show = text => seen.push("shown " + text);
		window.reload = () => seen.push("reloaded");`)
	b.run(blocks[0])
	seen := func(want string) {
		t.Helper()
		b.waitUntil("the page has seen "+want, func() bool { return b.run(`return seen.join()`) == want })
	}
	seen("reloaded") // it begins
	post(t, p.addr, "rooms/hall", "hello")
	seen("reloaded,shown hello")
	p.end()
	asked := make(chan string, 100)
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		asked <- r.Header.Get("Last-Event-ID") + r.URL.RawQuery
	})}}
	proxy.Start()
	for _, want := range []string{"-1", "since="} { // it has given up, and has begun anew
		select {
		case got := <-asked:
			if !strings.Contains(got, want) {
				t.Errorf("it asks with %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("it does not ask with %q", want)
		}
	}
	proxy.Close()
	p = serve(t, nil, flags...)
	seen("reloaded,shown hello,reloaded")
	post(t, p.addr, "rooms/hall", "once more")
	seen("reloaded,shown hello,reloaded,shown once more")
}

// TestBrowserEventSourceHTTP2: over TLS a page has more than six streams at once.
func TestBrowserEventSourceHTTP2(t *testing.T) {
	b := startBrowser(t)
	k := newKeyPair(t, "millrace", inAnHour())
	srv := feed("127.0.0.1:0", eightPage, make(chan *server.Conn, 8))
	ln, err := srv.Listen("tcp", srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, k.cert, k.key) }()
	defer func() {
		_ = srv.Close() // always nil
		<-served
	}()
	b.navigate("https://" + ln.Addr().String() + "/")
	b.waitForText("#log", "8 ticked")
	if s := srv.Stats(); s.EventStreams.Open != 8 || s.Bridged != 8 {
		t.Errorf("%d streams, %d of them over bridges", s.EventStreams.Open, s.Bridged)
	}
}
