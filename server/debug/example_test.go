package debug_test

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
)

// A middleware lets in who knows the password, which a browser asks for.
func ExampleConns_password() {
	const password = "from a file of your own"
	guarded := func(page http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, given, _ := r.BasicAuth()
			if subtle.ConstantTimeCompare([]byte(given), []byte(password)) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="admin"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			page.ServeHTTP(w, r)
		})
	}
	page := guarded(debug.Conns(&server.Server{}))

	r := httptest.NewRequest("GET", "http://127.0.0.1:9090/debug/conns?format=json", nil)
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	fmt.Println(w.Code)
	r.SetBasicAuth("operator", password)
	w = httptest.NewRecorder()
	page.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 401
	// 200
}

func ExampleConns() {
	srv := &server.Server{}
	admin := http.NewServeMux() // to be served on a private address
	admin.Handle("/debug/conns", debug.Conns(srv, "admin.example.com"))

	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "http://admin.example.com/debug/conns?by=age&n=3&format=json", nil))
	fmt.Print(w.Body)
	// Output: {"by":"age","total":0,"connections":[]}
}
