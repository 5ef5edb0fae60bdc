package natstest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/sse"
)

// post publishes to a topic, and gives the message's position.
func (s *served) post(topic, text string) (p pubsub.Position) {
	s.t.Helper()
	body, ok := strings.CutPrefix(ask(s.t, "POST", "http://"+s.addr+"/topics/"+topic, text), "200 ")
	var answer struct{ Position string }
	err := json.Unmarshal([]byte(body), &answer)
	if err == nil {
		p, err = pubsub.ParsePosition(answer.Position)
	}
	if !ok || err != nil {
		s.t.Fatalf("%s: %q, %v", topic, body, err)
	}
	return p
}

// events opens an event stream, and gives so many of its events: their data, and the ids of those that are messages.
func (s *served) events(target, lastID string, n int) (data []string, ids []pubsub.Position) {
	s.t.Helper()
	ctx, end := context.WithTimeout(s.t.Context(), patience)
	defer end()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.addr+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	in := sse.NewReader(resp.Body)
	for range n {
		e, err := in.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		data = append(data, string(e.Data))
		if e.Name == "message" {
			id, err := pubsub.ParsePosition(e.ID)
			if err != nil {
				s.t.Error(err)
			}
			ids = append(ids, id)
		}
	}
	return data, ids
}

// TestEventsOfSeveral: an event stream of several topics goes on, on any node, with a position of each, or with one up to which the client
// has all of each, and is told that it has all. By its last id it does not go on: one topic's past follows on another's, so ids do not grow.
func TestEventsOfSeveral(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	flags := []string{"--nats", s.url(), "--nats-stream", "ROOMS rooms/# messages=100"}
	a, b := startServe(t, flags...), startServe(t, flags...)
	at := []pubsub.Position{a.post("rooms/a", "a0"), a.post("rooms/b", "b0")}
	for _, text := range []string{"b1", "a1", "b2", "a2"} {
		a.post("rooms/"+text[:1], text)
	}
	begins := func(topic string, recovered bool, sent int) string {
		return fmt.Sprintf("%s %v %d", topic, recovered, sent)
	}
	plain := func(data string) string {
		var begin struct {
			Topics []struct {
				Topic     string
				Recovered bool
				Sent      int
			}
		}
		if json.Unmarshal([]byte(data), &begin) != nil || len(begin.Topics) != 1 {
			return data
		}
		return begins(begin.Topics[0].Topic, begin.Topics[0].Recovered, begin.Topics[0].Sent)
	}
	const both = "/topics/rooms/a?topic=rooms/b"
	all := []string{begins("rooms/a", true, 2), "a1", "a2", begins("rooms/b", true, 2), "b1", "b2"}
	none := []string{begins("rooms/a", false, 0), begins("rooms/b", false, 0)}
	for _, tt := range []struct {
		target, lastID string
		want           []string
	}{
		{both + "&since=" + at[0].String() + "&since=" + at[1].String(), "", all},
		{both + "&since=" + at[1].String(), "", all},
		{both, at[1].String(), none},
		{both + "&since=" + at[1].String(), at[1].String(), none},
	} {
		got, ids := b.events(tt.target, tt.lastID, len(tt.want))
		for i := range got {
			got[i] = plain(got[i])
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s, %q: %q, want %q", tt.target, tt.lastID, got, tt.want)
		}
		if len(ids) == 4 && ids[2].Number > ids[1].Number {
			t.Errorf("the ids grow: %v", ids)
		}
	}
	askFor(t, `millrace_gateway_resumed_total{recovered="true"} 4`, "GET", "http://"+b.admin+"/metrics", "")
}
