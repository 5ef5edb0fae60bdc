package natstest

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
)

// TestStreamEnd: the last messages of a topic are those of its end, as many as the bound allows, however the topic lies in the stream and
// whatever its messages weigh; and they cost few requests, not one for each page of what is before.
func TestStreamEnd(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n := startNode(t, streamed(s.url(), "EN"))
	r := rand.New(rand.NewPCG(1, 2))
	var all []pubsub.Message
	send := func(topic string, size int) {
		text := strings.Repeat("x", size) + strconv.Itoa(len(all))
		p := n.send(topic, text)
		if topic == "kept/a" {
			all = append(all, pubsub.Message{Payload: []byte(text), Position: p.Position})
		}
	}
	n.send("kept/few", "0")
	for range 300 { // close together
		send("kept/a", r.IntN(100))
	}
	for range 600 { // far from each other
		send("kept/"+[]string{"a", "b", "c", "d", "e", "f", "g", "h"}[r.IntN(8)], r.IntN(100))
	}
	for range 40 { // large
		send("kept/a", r.IntN(20_000))
		send("kept/b", 1)
	}
	for range 400 { // and nothing for long
		send("kept/b", 1)
	}
	for _, bound := range []pubsub.HistoryBound{
		{Messages: 1, Bytes: 1 << 20}, {Messages: 2, Bytes: 1 << 20}, {Messages: 17, Bytes: 1 << 20}, {Messages: 60, Bytes: 1 << 20}, {Messages: 300, Bytes: 1 << 20},
		{Messages: len(all), Bytes: 1 << 30}, {Messages: 10_000, Bytes: 1 << 30}, {Messages: 10_000, Bytes: 1}, {Messages: 10_000, Bytes: 50_000}, {Messages: 100, Bytes: 300_000},
	} {
		bound.Last = true
		want, bytes := len(all), int64(0)
		for want > 0 && len(all)-want < bound.Messages && bytes <= bound.Bytes {
			want--
			bytes += int64(len(all[want].Payload))
		}
		var h pubsub.History
		asked := requests(t, s, n, func() {
			var err error
			if h, err = n.History(t.Context(), "kept/a", pubsub.Position{}, bound); err != nil {
				t.Error(err)
			}
		})
		var got []string
		for _, m := range h.Messages {
			got = append(got, string(m.Payload))
		}
		same := func(text string, m pubsub.Message) int { return strings.Compare(text, string(m.Payload)) }
		if slices.CompareFunc(got, all[want:], same) != 0 || h.More {
			t.Errorf("%+v: %d messages from %v, more: %v; want %d from %v", bound, len(got), h.From, h.More, len(all)-want, all[want].Position)
		}
		if want == 0 && h.From.Number != 0 || want > 0 && (h.From.Number < all[want-1].Position.Number || h.From.Number > all[want].Position.Number) {
			t.Errorf("%+v: from %v, and the first of them is %v", bound, h.From, all[want].Position)
		}
		if total := asked["$JS.API.DIRECT.GET.EN"]; total > 30 {
			t.Errorf("%+v: %v", bound, asked)
		}
	}
	for topic, want := range map[string]int{"kept/few": 1, "kept/none": 0} {
		h, err := n.History(t.Context(), topic, pubsub.Position{}, pubsub.HistoryBound{Messages: 10, Bytes: 10, Last: true})
		if err != nil || len(h.Messages) != want || h.From.Number != 0 {
			t.Errorf("%s: %+v, %v", topic, h, err)
		}
	}
}
