// Package client has the JavaScript client of topics, for servers that serve it to their pages.
package client

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"net/http"
	"time"
)

//go:embed millrace.js
var javaScript []byte

// JavaScript serves millrace.js, which docs/client.md describes. Browsers ask each time whether it has changed.
func JavaScript() http.Handler {
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(javaScript))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(javaScript))
	})
}
