package peers_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// openStreams opens event streams, which the server has when it has answered. They end
// with the test.
func openStreams(t *testing.T, to target, n int) (all []*bufio.Reader) {
	t.Helper()
	for range n {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+to.address+"/some/path", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/event-stream")
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
			t.Fatalf("answered with %s, %q", response.Status, kind)
		}
		all = append(all, bufio.NewReader(response.Body))
	}
	return all
}

// nextEvent gives the data of the next event that has some.
func nextEvent(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var data []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		line = strings.TrimSuffix(line, "\n")
		if value, ok := strings.CutPrefix(line, "data: "); ok {
			data = append(data, value)
		}
		if line == "" && data != nil {
			return strings.Join(data, "\n")
		}
	}
}

// TestBroadcastEvents: each text goes to all event streams, in order, and to WebSockets as
// without them; a stream that has gone holds nobody up.
func TestBroadcastEvents(t *testing.T) {
	each(t, "events", func(t *testing.T, r rival) {
		to := r.start(t, "--broadcast")
		streams := openStreams(t, to, receivers)
		publisher := connect(t, to)
		send := func(message string) {
			publisher.send(t, websocket.TextMessage, []byte(message))
			publisher.expect(t, websocket.TextMessage, []byte(message))
		}
		for _, message := range []string{"hello", "two\nlines", string(content(70_000)), string(bytes.Repeat([]byte("x"), 200_000))} {
			send(message)
			for i, in := range streams {
				if got := nextEvent(t, in); got != message {
					t.Fatalf("event stream %d: %d bytes %.40q, want %d bytes %.40q", i, len(got), got, len(message), message)
				}
			}
		}
		publisher.send(t, websocket.BinaryMessage, []byte{0, 1}) // which streams have no form for
		publisher.expect(t, websocket.BinaryMessage, []byte{0, 1})
		go func() {
			for n := range published {
				if err := publisher.WriteMessage(websocket.TextMessage, fmt.Append(nil, n)); err != nil {
					t.Errorf("message %d: %v", n, err)
				}
			}
		}()
		for i, in := range streams {
			for n := range published {
				if got := nextEvent(t, in); got != fmt.Sprint(n) {
					t.Fatalf("event stream %d: %.40q, want %d", i, got, n)
				}
			}
		}
	})
}
