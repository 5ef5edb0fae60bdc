package server_test

import (
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

var dateLine = regexp.MustCompile(`(?m)^Date: .*\r\n`)

// FuzzBehindPages: whatever a client sends, it gets the same answers behind a page as
// on a new connection, pipelined or not.
func FuzzBehindPages(f *testing.F) {
	for _, request := range oddRequests {
		f.Add(request)
	}
	for _, request := range []string{
		get("/a"), get("/a") + get("/b"), post("/a", "body") + get("/b"), chunked("/a", "body") + get("/b"), upgradeRequest() + frame(opText, "x"),
		"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + upgradeRequest(), "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" + get("/b"), "\r\n" + get("/a"), "GET / HTTP/1.0\r\n\r\n" + get("/b"),
	} {
		f.Add(request)
	}
	n := simnet.New(simnet.Config{})
	srv := &server.Server{Handler: echo{}, HTTP: http.HandlerFunc(answerPlain)}
	addr, stop := serveOn(f, n, srv)
	f.Cleanup(stop)
	answers := func(t *testing.T, before, request string, apart bool) string {
		conn, err := n.Dial(addr.String())
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		defer c.Close()
		if apart && before != "" {
			c.send(before)
			c.expectPlain("GET /page ")
			before = ""
		}
		go func() {
			_, _ = io.WriteString(conn, before+request) // it may be refused midway
			_ = conn.CloseWrite()                       // as above
		}()
		if before != "" {
			c.expectPlain("GET /page ")
		}
		all, _ := io.ReadAll(c.r) // a reset ends it as well
		return dateLine.ReplaceAllString(string(all), "")
	}
	f.Fuzz(func(t *testing.T, request string) {
		if len(request) > 32<<10 {
			return
		}
		want := answers(t, "", request, false)
		for _, apart := range []bool{true, false} {
			if got := answers(t, get("/page"), request, apart); got != want {
				t.Errorf("%.2000q (apart: %v)\ngets  %.500q\nwant %.500q", request, apart, got, want)
			}
		}
	})
}
