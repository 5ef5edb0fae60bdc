package peer

import (
	"bytes"
	"net/http"
	"strings"
)

// Streams are the event streams (Server-Sent Events) of a server on net/http, in its own
// way: the handler's goroutine of each writes what is queued, and flushes once for all
// that is pending.
type Streams struct{ members Hub[*stream] }

type stream struct {
	queue chan []byte
	ended <-chan struct{} // the client has gone
}

// Wanted tells whether a request is for one.
func (s *Streams) Wanted(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// ServeHTTP serves one until its client goes.
func (s *Streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := &stream{queue: make(chan []byte, queued), ended: r.Context().Done()}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s.members.Open(m)
	defer s.members.Close(m)
	flush := http.NewResponseController(w).Flush
	for flush() == nil {
		select {
		case event := <-m.queue:
			_, _ = w.Write(event) // Flush tells
			for range len(m.queue) {
				_, _ = w.Write(<-m.queue)
			}
		case <-m.ended:
			return
		}
	}
}

// Send sends a text to all, as an event that is made once. As in Room, the sender waits
// where a queue is full, so that nothing is lost under load.
func (s *Streams) Send(text []byte) {
	members := s.members.All()
	if len(members) == 0 {
		return
	}
	event := append([]byte("data: "), bytes.ReplaceAll(text, []byte("\n"), []byte("\ndata: "))...)
	event = append(event, "\n\n"...)
	for _, m := range members {
		select {
		case m.queue <- event:
		default:
			select {
			case m.queue <- event:
			case <-m.ended:
			}
		}
	}
}
