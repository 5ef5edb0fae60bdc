package natstest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
)

// TestStreamTooBig: a message that NATS does not take together with its id is refused at once, and one that just fits is stored.
func TestStreamTooBig(t *testing.T) {
	t.Parallel()
	const most = 4096
	s := startServer(t, func(o *natsserver.Options) { o.MaxPayload = most })
	n := startNode(t, streamed(s.url(), "TB"))
	n.want("kept/a")
	stored := 0
	for size := most; size > most-100; size-- {
		begin := time.Now()
		_, err := n.Publish(t.Context(), pubsub.Message{Topic: "kept/a", Payload: make([]byte, size)}, pubsub.PublishOptions{})
		if took := time.Since(begin); took > 5*time.Second {
			t.Fatalf("%d bytes: %v, behind %v", size, err, took)
		}
		if err == nil {
			stored++
		} else if stored > 0 || !errors.Is(err, pubsub.ErrTooBig) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	if stored < 20 || stored == 100 {
		t.Errorf("%d sizes up to %d bytes were stored", stored, most)
	}
	eventually(t, "what was stored", func() bool { return len(n.texts("kept/a")) == stored })
}

// TestForeignIDs: whoever sees the ids of a node's messages can not have its next ones taken for stored before.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n, other := startNode(t, streamed(s.url(), "ID")), dial(t, s.url())
	n.want("kept/a")
	heard, err := other.SubscribeSync("ID.kept.a")
	if err != nil || other.Flush() != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 2 {
		n.send("kept/a", strconv.Itoa(i))
		msg, err := heard.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, msg.Header.Get(natsgo.MsgIdHdr))
	}
	for i := range 100 {
		for _, id := range []string{n.Node() + "-" + strconv.FormatUint(uint64(i), 36), ids[0] + "-" + strconv.Itoa(i)} {
			if _, err := other.RequestMsg(&natsgo.Msg{Subject: "ID.kept.foreign", Header: natsgo.Header{natsgo.MsgIdHdr: {id}}}, patience); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.send("kept/a", "2")
	n.expect("kept/a", "0", "1", "2")
	if ids[0] == ids[1] || len(ids[0]) < 20 {
		t.Errorf("%q", ids)
	}
}
