package client_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/client"
)

// TestJavaScript: browsers get the file, and not again while it is the same.
func TestJavaScript(t *testing.T) {
	get := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/millrace.js", nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		client.JavaScript().ServeHTTP(w, r)
		return w
	}
	w := get("")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(w.Body.String(), ").Millrace = Millrace") {
		t.Errorf("status %d, header %v", w.Code, w.Header())
	}
	if w := get(w.Header().Get("ETag")); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("once more: status %d, %d bytes", w.Code, w.Body.Len())
	}
}
