package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
)

// TestHistoryWithinAMebibyte: of large messages an answer has a MiB at most, the oldest behind since, or the newest of the last; that there
// are more is told, and the rest follows.
func TestHistoryWithinAMebibyte(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep, Limits: pubsub.Limits{Payload: 4 << 20}}, nil)
	var at []pubsub.Position
	publish := func(topic string, size int) {
		t.Helper()
		p, err := r.hub.Publish(t.Context(), pubsub.Message{Topic: topic, Payload: []byte(strings.Repeat("x", size))}, pubsub.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p.Position)
	}
	for range 20 {
		publish("large", 100<<10)
	}
	publish("huge", 2<<20) // 20
	publish("huge", 3<<20)
	publish("huge", 1)
	for _, tt := range []struct {
		target      string
		first, last int
		complete    bool
	}{
		{"large?limit=1000&since=" + at[0].String(), 1, 10, false},
		{"large?limit=1000&since=" + at[10].String(), 11, 19, true},
		{"large?limit=1000&last=20", 10, 19, false},
		{"large?last=2", 18, 19, false},
		{"huge?since=" + at[19].String(), 20, 20, false},
		{"huge?since=" + at[20].String(), 21, 21, false},
		{"huge?since=" + at[21].String(), 22, 22, true},
		{"huge?last=3", 22, 22, false},
		{"huge?last=1", 22, 22, false},
	} {
		var answer struct {
			Messages []struct{ Position string }
			Complete bool
		}
		if err := json.Unmarshal([]byte(r.expect(200, "", "GET", "/history/"+tt.target, "").body), &answer); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, m := range answer.Messages {
			got = append(got, m.Position)
		}
		for i := tt.first; i <= tt.last; i++ {
			want = append(want, at[i].String())
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || answer.Complete != tt.complete {
			t.Errorf("%s: %v, %v, want %v, %v", tt.target, got, answer.Complete, want, tt.complete)
		}
	}
}

// TestHistoryTakesRoomFirst: the memory of an answer is taken before anything is read for it, and given back.
func TestHistoryTakesRoomFirst(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep}, nil)
	r.g.SetAnswersMemory(3 << 20)
	for range 3 {
		r.expect(200, "", "GET", "/history/rooms/a", "")
		r.expect(410, "history_gone", "GET", "/history/rooms/a?since=x-1", "")
	}
	r.g.SetAnswersMemory(3<<20 - 1)
	r.expect(503, "no_room", "GET", "/history/rooms/a", "")
	r.expect(200, "", "GET", "/stats/rooms/a", "")
}

// asked is a broker that keeps nothing, and notes how much it was asked for.
type asked struct {
	pubsub.Broker
	bound pubsub.HistoryBound
}

func (a *asked) Keeps(string) bool { return true }

func (a *asked) History(_ context.Context, _ string, _ pubsub.Position, bound pubsub.HistoryBound) (pubsub.History, error) {
	a.bound = bound
	return pubsub.History{}, nil
}

func (a *asked) Purge(context.Context, string) error { return nil }

// TestHistoryAsksForNoMore: of a broker no more is read than an answer may have.
func TestHistoryAsksForNoMore(t *testing.T) {
	t.Parallel()
	b := &asked{Broker: pubsub.InProcess()}
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Broker: b}, nil)
	for query, want := range map[string]pubsub.HistoryBound{
		"":                          {Messages: 101, Bytes: 1 << 20},
		"limit=1000000":             {Messages: 1001, Bytes: 1 << 20},
		"last=1":                    {Messages: 1, Bytes: 1 << 20, Last: true},
		"last=1000000&limit=1000":   {Messages: 1000, Bytes: 1 << 20, Last: true},
		"last=1000000&limit=500000": {Messages: 1000, Bytes: 1 << 20, Last: true},
	} {
		if r.expect(200, "", "GET", "/history/a?"+query, ""); b.bound != want {
			t.Errorf("%s: asked for %+v, want %+v", query, b.bound, want)
		}
	}
}

// TestHistoryAsItIs: what JSON need not escape an answer has as it is, as it was counted.
func TestHistoryAsItIs(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, gateway.Options{Open: true}, pubsub.Options{Rules: keep}, nil)
	r.publish("a", "<b>&</b>")
	r.expect(200, `"data":"<b>&</b>"`, "GET", "/history/a", "")
}
