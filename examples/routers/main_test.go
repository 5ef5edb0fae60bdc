package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

func TestRouters(t *testing.T) {
	for _, router := range []string{"chi", "gin"} {
		t.Run(router, func(t *testing.T) { testRouter(t, router) })
	}
}

func as(name, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}}
}

func testRouter(t *testing.T, router string) {
	p := program.Start(t, "-router", router)
	ann, bob := p.Dial("/rooms/hall", as("ann", "tea")), p.Dial("/rooms/attic", as("bob", "tea"))
	ann.SendText("hello")
	ann.Expect("ann in hall: hello")
	bob.SendText("hi")
	bob.Expect("bob in attic: hi")
	p.ExpectRefusal("/rooms/hall", as("ann", "milk"), http.StatusUnauthorized)
	p.ExpectRefusal("/cellar", as("ann", "tea"), http.StatusNotFound)
	evil := as("ann", "tea")
	evil.Set("Origin", "https://evil.example")
	p.ExpectRefusal("/rooms/hall", evil, http.StatusForbidden)

	r, err := http.NewRequest("GET", "http://"+p.Addr+"/rooms", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = as("ann", "tea")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || strings.TrimSpace(string(text)) != `{"attic":1,"hall":1}` {
		t.Errorf("GET /rooms: %s, %q, %v", resp.Status, text, err)
	}

	p.Signal()
	ann.ExpectClose(websocket.CloseGoingAway)
	bob.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}
