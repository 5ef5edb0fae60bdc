package serve

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page do what it does and nothing else. Any WebSocket may be tried with it; plain requests
// go to this server alone.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// routePage adds the page to try the server with. topics: there are some.
func routePage(pages *http.ServeMux, topics bool) {
	html, _ := pageFiles.ReadFile("page/page.html") // it is embedded
	if topics {
		html = bytes.Replace(html, []byte(`data-topics="off"`), []byte(`data-topics="on"`), 1)
	}
	pages.HandleFunc("GET /{$}", servePage("page.html", html))
	for _, name := range []string{"page.css", "page_connection.js", "page_parts.js", "page_socket.js", "page_topics.js"} {
		content, _ := pageFiles.ReadFile("page/" + name)
		pages.HandleFunc("GET /"+name, servePage(name, content))
	}
}

func servePage(name string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content)) // the name says what it is
	}
}
