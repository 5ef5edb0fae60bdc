package server_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// eventClient is the client of an event stream. Its methods fail the test, as a client's.
type eventClient struct {
	*client
	events *sse.Reader
	resp   *http.Response
}

// eventRequest asks for an event stream, with further header lines.
func eventRequest(path string, lines ...string) string {
	var b strings.Builder
	b.WriteString("GET " + path + " HTTP/1.1\r\nHost: example.com\r\nAccept: text/event-stream\r\n")
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	return b.String() + "\r\n"
}

// streamed sends the request and reads the head of the answer.
func (c *client) streamed(lines ...string) *eventClient {
	c.t.Helper()
	c.send(eventRequest("/", lines...))
	return c.expectStream()
}

// expectStream reads the head of an event stream.
func (c *client) expectStream() *eventClient {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("reading a response: %v", err)
	}
	h := resp.Header
	if resp.StatusCode != http.StatusOK || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") == "" {
		body, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("status %d with %v (%q), want an event stream", resp.StatusCode, h, body)
	}
	expectLines(c, sse.Comment)
	return &eventClient{client: c, events: sse.NewReader(resp.Body), resp: resp}
}

// next is the next event.
func (c *eventClient) next() sse.Event {
	c.t.Helper()
	e, err := c.events.Next()
	if err != nil {
		c.t.Fatalf("reading an event: %v", err)
	}
	return e
}

// expectData reads events with no name of their own and this data.
func (c *eventClient) expectData(data ...string) {
	c.t.Helper()
	for _, want := range data {
		if e := c.next(); e.Name != "message" || string(e.Data) != want {
			c.t.Fatalf("event %q %q, want %q", e.Name, e.Data, want)
		}
	}
}

// expectOver reads the event that tells why, and the end.
func (c *eventClient) expectOver(want string) {
	c.t.Helper()
	if e := c.next(); e.Name != "close" || string(e.Data) != want {
		c.t.Fatalf("event %q %q, want a close with %q", e.Name, e.Data, want)
	}
	c.expectNothing()
}

// expectNothing reads the end of the stream.
func (c *eventClient) expectNothing() {
	c.t.Helper()
	if e, err := c.events.Next(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("event %q %q, %v, want the end", e.Name, e.Data, err)
	}
	_ = c.Conn.Close() // it has ended
}

// withEvents has a server take event streams, and does what configure says besides.
func withEvents(configure func(*server.Server)) func(*server.Server) {
	return func(srv *server.Server) {
		srv.EventStreams = true
		configure(srv)
	}
}

// streamSome opens so many event streams.
func streamSome(dial func() *client, conns <-chan *server.Conn, n int) (clients []*eventClient, opened []*server.Conn) {
	for range n {
		clients = append(clients, dial().streamed())
		opened = append(opened, <-conns)
	}
	return clients, opened
}

// acceptAs is a hook that accepts what is asked for, with what accept says.
func acceptAs(accept server.Accept) func(*ws.Request) (server.Accept, error) {
	return func(r *ws.Request) (server.Accept, error) {
		accept := accept
		accept.EventStream = r.EventStream()
		return accept, nil
	}
}

// closeCauses is a handler that tells of each connection that opens, and how it ends.
func closeCauses(conns chan<- *server.Conn, causes chan<- error) handler {
	return handler{open: func(c *server.Conn) { conns <- c }, close: func(_ *server.Conn, err error) { causes <- err }}
}

// expectCause waits for the end of a connection.
func expectCause(t testing.TB, causes <-chan error, code ws.Code, remote bool) {
	t.Helper()
	var end *ws.CloseError
	if err := <-causes; !errors.As(err, &end) || end.Code != code || end.Remote != remote {
		t.Errorf("closed with %v, want %d, remote %v", err, code, remote)
	}
}
