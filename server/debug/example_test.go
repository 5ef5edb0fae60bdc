package debug_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
)

func ExampleConns() {
	srv := &server.Server{}
	admin := http.NewServeMux() // to be served on a private address
	admin.Handle("/debug/conns", debug.Conns(srv, "admin.example.com"))

	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "http://admin.example.com/debug/conns?by=age&n=3&format=json", nil))
	fmt.Print(w.Body)
	// Output: {"by":"age","total":0,"connections":[]}
}
