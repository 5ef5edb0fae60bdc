package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// http2Page opens two WebSockets, says something on each, and closes them.
const http2Page = `<!doctype html><meta charset=utf-8><ul id=log></ul><script>
const log = (text) => { const li = document.createElement("li"); li.textContent = text; document.querySelector("#log").append(li); };
for (const name of ["Ada", "Grace"]) {
	const socket = new WebSocket("wss://" + location.host + "/echo?name=" + name, ["chat.v2", "chat.v1"]);
	socket.onopen = () => socket.send("Grüße an " + name + "x".repeat(100000));
	socket.onmessage = (e) => { log(e.data + " by " + socket.protocol); socket.close(3000, "bye"); };
	socket.onclose = (e) => log(name + " closed " + e.code + " clean " + e.wasClean);
}
</script>`

// TestBrowserHTTP2: with extended CONNECT switched on, Chromium opens its
// WebSockets as streams of the HTTP/2 connection that brought the page; without,
// over HTTP/1.1.
func TestBrowserHTTP2(t *testing.T) {
	b := startBrowser(t)
	for debug, way := range map[string]string{"http2xconnect=1": "CONNECT", "http2xconnect=0": "GET"} {
		t.Run(debug, func(t *testing.T) {
			b.navigate(startHTTP2Page(t, debug))
			for _, name := range []string{"Ada", "Grace"} {
				text := "Grüße an " + name
				b.waitForText("#log", fmt.Sprintf("%s HTTP/2.0 page, %d bytes: %s", way, len(text)+100_000, text)+"x by chat.v1",
					name+" closed 3000 clean true")
			}
		})
	}
}

// startHTTP2Page runs TestHTTP2Page in a process of its own, since net/http reads
// the setting when the process starts, and gives the page's URL.
func startHTTP2Page(t *testing.T, debug string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHTTP2Page$")
	cmd.Env = append(os.Environ(), "GODEBUG="+debug, "MILLRACE_HTTP2_PAGE=yes")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends
		if err := cmd.Wait(); err != nil {
			t.Errorf("the page's server: %v", err)
		}
	})
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
	return strings.TrimSpace(url)
}

// teller answers with how the connection was opened.
type teller struct{ page *http.Request }

func (teller) Open(*server.Conn)         {}
func (teller) Close(*server.Conn, error) {}

func (h teller) Message(c *server.Conn, m ws.Message) {
	_ = c.SendText(fmt.Sprintf("%s %s page, %d bytes: %sx", // the browser sees
		c.Request().Method(), h.page.Proto, len(m.Payload), strings.TrimRight(string(m.Payload), "x")))
}

// TestHTTP2Page serves the page to TestBrowserHTTP2 until its input ends.
func TestHTTP2Page(t *testing.T) {
	if os.Getenv("MILLRACE_HTTP2_PAGE") == "" {
		t.Skip("it is part of TestBrowserHTTP2")
	}
	var page *http.Request
	srv := &server.Server{Subprotocols: []string{"chat.v1"}, Upgrade: func(*ws.Request) (server.Accept, error) {
		return server.Accept{Handler: teller{page}, KeepRequest: true}, nil
	}}
	mux := http.NewServeMux()
	mux.Handle("/echo", srv)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		page = r
		_, _ = io.WriteString(w, http2Page) // the browser sees
	})
	web := httptest.NewUnstartedServer(mux)
	web.EnableHTTP2 = true
	web.StartTLS()
	fmt.Println(web.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done
	_ = srv.Close()                      // always nil
	web.Close()
}

// TestBrowserHTTP2Server: millrace itself takes Chromium's WebSocket from the
// HTTP/2 connection that brought the page, if told so by the environment, and
// drains it like any other.
func TestBrowserHTTP2Server(t *testing.T) {
	b := startBrowser(t)
	k := newKeyPair(t, "millrace", inAnHour())
	for bridged, debug := range []string{"GODEBUG=http2xconnect=0", "GODEBUG=http2xconnect=1"} {
		p := serve(t, []string{debug}, "--tls-cert", k.cert, "--tls-key", k.key, "--deflate", "takeover", "--admin", "127.0.0.1:0")
		b.navigate("https://" + p.addr + "/")
		b.click("#connect")
		b.waitForText("#log", "connected to wss://"+p.addr+"/echo")
		for _, text := range []string{"Grüße", strings.Repeat("aus der Mühle ", 30)} {
			b.typeInto("#message", text+enter)
			b.waitForText("#log .received:last-child", strings.TrimSpace(text))
		}
		expectPage(t, "http://"+p.admin+"/metrics", 200, fmt.Sprintf("millrace_connections_bridged %d\n", bridged))
		p.signal(syscall.SIGTERM)
		b.waitForText("#log .closed", "code 1001 server shutting down after ")
		p.expectStatus(0, `msg="drain over"`)
	}
}
