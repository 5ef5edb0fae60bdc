package main_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// topicsPage uses the topics of a server elsewhere, in all ways that a browser has: docs/gateway.md.
const topicsPage = `<!doctype html><meta charset=utf-8><ul id=log></ul><script>
const at = %q, key = "press-key";
const log = text => { const li = document.createElement("li"); li.textContent = text; document.querySelector("#log").append(li); };
const socket = (name, protocols, target) => {
  const s = new WebSocket("ws://" + at + target, protocols);
  s.onopen = () => { log(name + " open " + s.protocol); if (s.protocol == "millrace.topics.v1") s.send('{"id":1,"publish":"news/1","data":"by ' + name + '"}'); };
  s.onmessage = e => { const m = JSON.parse(e.data); log(name + " " + (m.data ?? (m.ok ? "ok" : m.error ?? "begins"))); };
  s.onclose = e => log(name + " closed " + e.code);
};
const ask = async (name, target, options) => {
  try {
    const r = await fetch("http://" + at + target, options);
    log(name + " " + r.status + " " + ((await r.json()).error ?? "fine"));
  } catch (e) { log(name + " failed"); }
};
const stream = (name, target, options) => {
  const s = new EventSource("http://" + at + target, options);
  s.addEventListener("subscribed", e => log(name + " begins"));
  s.onmessage = e => log(name + " " + e.data);
  s.onerror = () => { log(name + " failed"); s.close(); };
};
document.cookie = "session=" + key;
(async () => {
  stream("anonymous stream", "/topics/news/1");
  stream("stream with a token", "/topics/news/%%23?token=" + key);
  stream("stream with a cookie", "/topics/news/%%23", {withCredentials: true});
  socket("with a token", ["millrace.topics.v1", "millrace.token." + key], "/topics/news/1");
  socket("with a cookie", ["millrace.topics.v1"], "/topics/news/1");
  socket("with a wrong token", ["millrace.topics.v1", "millrace.token.wrong"], "/topics/news/1");
  await ask("post with a key", "/topics/news/1", {method: "POST", body: "by a post", headers: {Authorization: "Bearer " + key, "Millrace-Expires": "5"}});
  await ask("post with a cookie", "/topics/news/1", {method: "POST", body: "by a cookie", credentials: "include"});
  await ask("post without", "/topics/news/1", {method: "POST", body: "by nobody", credentials: "omit"});
  await ask("history", "/history/news/1");
})();
</script>`

// pageServer serves a page that uses the topics of a server.
func pageServer(t *testing.T) (url string, show func(addr string)) {
	t.Helper()
	addr := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, fmt.Sprintf(topicsPage, addr)) // the browser sees
	}))
	t.Cleanup(s.Close)
	return s.URL, func(to string) { addr = to }
}

// TestBrowserTopics: a page of an origin that is let in uses the topics with a key, in each way that browsers can bring
// one, and a page of another origin, to which the same cookie is sent, can do nothing.
func TestBrowserTopics(t *testing.T) {
	b := startBrowser(t)
	friend, showFriend := pageServer(t)
	stranger, showStranger := pageServer(t)
	const more = "    subscribe: [news/#]\nanonymous:\n  subscribe: [news/#]\n  literal: true\n"
	p := serve(t, nil, "--topics", "--topics-keys", keyFile(t, more), "--topics-rule", "# messages=10", "--topics-cookie", "session", "--topics-cors", friend)
	showFriend(p.addr)
	showStranger(p.addr)
	b.navigate(friend + "/")
	b.waitForText("#log", "with a token open millrace.topics.v1", "with a token ok", "with a cookie ok", "with a wrong token closed 3000", "post with a key 200 fine",
		"post with a cookie 200 fine", "post without 401 unauthorized", "history 200 fine",
		"anonymous stream begins", "stream with a token begins", "stream with a cookie begins",
		"anonymous stream by a cookie", "stream with a token by a cookie", "stream with a cookie by a cookie", "with a token by with a token", "with a cookie by with a cookie", "anonymous stream by with a cookie")
	b.navigate(stranger + "/")
	b.waitForText("#log", "anonymous stream failed", "stream with a token failed", "stream with a cookie failed", "with a token closed 1006", "with a cookie closed 1006", "with a wrong token closed 1006",
		"post with a key failed", "post with a cookie failed", "post without failed", "history failed")
	expectAnswer(t, `"messages":4,`, "GET", "http://"+p.addr+"/stats/news/1", "")
}
