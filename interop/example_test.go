package interop_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// greeter greets with the name that the router has found in the path.
type greeter struct{}

func (greeter) Open(c *server.Conn)              { _ = c.SendText("hello " + c.Value().(string)) } // closing: the client sees
func (greeter) Message(*server.Conn, ws.Message) {}
func (greeter) Close(*server.Conn, error)        {}

// ask connects to a handler and prints what it says.
func ask(h http.Handler) {
	web := httptest.NewServer(h)
	defer web.Close()
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(web.URL, "http")+"/hello/Ada", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }() // all is said
	_, text, err := conn.ReadMessage()
	fmt.Println(string(text), err)
}

// A route of net/http hands its connections over to the event loops.
func Example_netHTTP() {
	srv := &server.Server{Handler: greeter{}}
	defer srv.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		_ = srv.Accept(w, r, server.Accept{Value: r.PathValue("name")})
	})
	ask(mux)
	// Output: hello Ada <nil>
}

// One of chi does the same; Handle takes the CONNECT of HTTP/2, too.
func Example_chi() {
	srv := &server.Server{Handler: greeter{}}
	defer srv.Close()
	r := chi.NewRouter()
	r.Handle("/hello/{name}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = srv.Accept(w, r, server.Accept{Value: chi.URLParam(r, "name")})
	}))
	ask(r)
	// Output: hello Ada <nil>
}

// And one of gin, where Any takes the CONNECT of HTTP/2.
func Example_gin() {
	srv := &server.Server{Handler: greeter{}}
	defer srv.Close()
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Any("/hello/:name", func(c *gin.Context) {
		_ = srv.Accept(c.Writer, c.Request, server.Accept{Value: c.Param("name")})
	})
	ask(r)
	// Output: hello Ada <nil>
}
