package pubsub_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/ws"
)

func TestEnvelope(t *testing.T) {
	at := time.Date(2026, 11, 27, 9, 0, 0, 1_999_999, time.FixedZone("", 3600))
	for _, c := range []struct {
		m    pubsub.Message
		kept bool
		want string
	}{
		{pubsub.Message{Topic: "a/b", Payload: []byte(`<"é`), Opcode: ws.Text, Position: pubsub.Position{Epoch: "e", Number: 7}, Time: at}, true,
			`{"topic":"a/b","position":"e-7","time":"2026-11-27T08:00:00.001Z","data":"<\"é"}`},
		{pubsub.Message{Topic: "a", Payload: []byte{0, 255}, Opcode: ws.Binary, Position: pubsub.Position{Epoch: "e", Number: 8}, Time: at}, false,
			`{"topic":"a","position":"e-8","kept":false,"time":"2026-11-27T08:00:00.001Z","binary":"AP8="}`},
		{pubsub.Message{Topic: "a", Opcode: ws.Binary, Time: at}, true, `{"topic":"a","time":"2026-11-27T08:00:00.001Z","binary":""}`},
		{pubsub.Message{Topic: "a", Opcode: ws.Text, Time: at}, true, `{"topic":"a","time":"2026-11-27T08:00:00.001Z","data":""}`},
	} {
		if got := pubsub.Envelope(c.m, c.kept); string(got) != c.want || !json.Valid(got) {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
