package ws_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestEventStream(t *testing.T) {
	for _, test := range []struct {
		head string // of an HTTP/1.1 GET with a Host, or a whole one
		want bool
	}{
		{"", false},
		{"Accept: text/event-stream\r\n", true},
		{"accept: TEXT/Event-Stream\r\n", true},
		{"Accept: text/html, text/event-stream;q=0.5, */*\r\n", true},
		{"Accept: text/html\r\nAccept: text/event-stream ; charset=utf-8\r\n", true},
		{"Accept: text/event-stream;q=0\r\n", false},
		{"Accept: text/event-stream; a=b ; Q=0.000\r\n", false},
		{"Accept: text/event-stream; q=0.001\r\n", true},
		{"Accept: */*\r\n", false},
		{"Accept: text/*\r\n", false},
		{"Accept: text/event-streams\r\n", false},
		{"Accept: text/event-stream\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", true},
		{"Accept: text/event-stream\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", false},
		{"GET / HTTP/1.0\r\nAccept: text/event-stream\r\n", true},
		{"POST / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n", false},
		{"HEAD / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n", false},
	} {
		head := test.head
		if !strings.Contains(head, " HTTP/1.") {
			head = "GET /feed?x=1 HTTP/1.1\r\nHost: example.com\r\n" + head
		}
		r := ws.Request{}
		if err := r.Parse([]byte(head + "\r\n")); err != nil {
			t.Errorf("%q: %v", head, err)
			continue
		}
		if got := r.EventStream(); got != test.want {
			t.Errorf("%q: %v", head, got)
		}
		if err := r.CheckEventStream(); (err == nil) != test.want {
			t.Errorf("%q: %v", head, err)
		}
	}
}

func TestCheckEventStream(t *testing.T) {
	for _, test := range []struct{ fields, want string }{
		{"Last-Event-ID: e-1\r\nOrigin: https://a.example\r\nContent-Length: 0\r\n", ""},
		{"Content-Length: 1\r\n", "no body"},
		{"Transfer-Encoding: chunked\r\n", "no body"},
		{"Origin: https://a.example\r\nOrigin: https://b.example\r\n", "more than one Origin"},
	} {
		r := ws.Request{}
		if err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n" + test.fields + "\r\n")); err != nil {
			t.Fatal(err)
		}
		err := r.CheckEventStream()
		var refusal *ws.Refusal
		switch {
		case test.want == "" && err == nil:
		case test.want == "" || !errors.As(err, &refusal) || refusal.Status != 400 || !strings.Contains(refusal.Reason, test.want):
			t.Errorf("%q: %v", test.fields, err)
		}
	}
}

func TestAppendEventStream(t *testing.T) {
	const connection = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
	const accel = "X-Accel-Buffering: no\r\n\r\n"
	for _, test := range []struct {
		resp *ws.Response
		want string // "" is an error
	}{
		{nil, connection + "Cache-Control: no-store\r\nContent-Type: text/event-stream\r\n" + accel},
		{&ws.Response{Date: "today"}, connection + "Date: today\r\nCache-Control: no-store\r\nContent-Type: text/event-stream\r\n" + accel},
		{
			&ws.Response{Header: http.Header{"cache-control": {"no-cache, no-transform"}, "Vary": {"Origin", "Accept"}}},
			connection + "Cache-Control: no-cache, no-transform\r\nContent-Type: text/event-stream\r\nVary: Origin\r\nVary: Accept\r\n" + accel,
		},
		{&ws.Response{Subprotocol: "chat"}, ""},
		{&ws.Response{Header: http.Header{"Content-type": {"text/plain"}}}, ""},
		{&ws.Response{Header: http.Header{"Content-Length": {"5"}}}, ""},
		{&ws.Response{Header: http.Header{"X-A": {"a\r\nb: c"}}}, ""},
	} {
		got, err := ws.AppendEventStream([]byte("before "), test.resp)
		if string(got) != "before "+test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %q, %v", test.resp, got, err)
		}
		header, err := ws.EventStreamHeader(test.resp)
		if (err == nil) != (test.want != "") || err == nil && header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%+v: %v, %v", test.resp, header, err)
		}
	}
}
