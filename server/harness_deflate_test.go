package server_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
)

const (
	offerDeflate = "permessage-deflate; client_max_window_bits"
	rsv1         = 0x40
	flushEnd     = "\x00\x00\xff\xff"
)

// deflater is a client that speaks permessage-deflate with the standard library's
// codec. Where it takes over its context, or the server does, it keeps all that
// has been sent.
type deflater struct {
	*client
	answer       string // to its offer; "": no compression
	sent, seen   string // in compressed messages
	keeps, shown bool   // the client takes over, the server does
	wire         int    // bytes of the last message's payload
	packed       bool   // it came compressed
}

// deflating opens a connection with this offer.
func deflating(c *client, offer string) *deflater {
	c.t.Helper()
	c.send(upgradeRequest("Sec-WebSocket-Extensions: " + offer))
	resp, body := c.response()
	if resp.StatusCode != 101 {
		c.t.Fatalf("status %d (%q), want 101", resp.StatusCode, body)
	}
	answer := resp.Header.Get("Sec-WebSocket-Extensions")
	return &deflater{
		client: c, answer: answer,
		keeps: !strings.Contains(answer, "client_no_context_takeover"),
		shown: !strings.Contains(answer, "server_no_context_takeover"),
	}
}

func dialDeflating(t testing.TB, n *simnet.Network, addr, offer string) *deflater {
	t.Helper()
	return deflating(dialSim(t, n, addr), offer)
}

// pack is a message as the client compresses it.
func (d *deflater) pack(message string) (payload string) {
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, 6, []byte(d.sent))
	if err == nil {
		_, err = io.WriteString(w, message)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	if d.keeps {
		d.sent += message
		d.sent = d.sent[max(0, len(d.sent)-1<<15):]
	}
	return strings.TrimSuffix(b.String(), flushEnd)
}

// sendPacked sends a message compressed, in frames of size bytes (0: in one).
func (d *deflater) sendPacked(op byte, message string, size int) {
	d.t.Helper()
	payload, first := d.pack(message), op|rsv1
	for size > 0 && len(payload) > size {
		d.send(fragment(first, payload[:size]))
		payload, first = payload[size:], opContinuation
	}
	d.send(frame(first, payload))
}

// message reads one message, and inflates it if it is compressed.
func (d *deflater) message() (op byte, message string) {
	d.t.Helper()
	first, err := d.r.Peek(1)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.packed = first[0]&rsv1 != 0; d.packed {
		first[0] &^= rsv1 // in the reader's buffer, for frame
	}
	op, payload := d.frame()
	d.wire = len(payload)
	if !d.packed {
		return op, payload
	}
	if op >= opClose || d.answer == "" {
		d.t.Fatalf("RSV1 on a frame of opcode %x, where %q was agreed upon", op, d.answer)
	}
	r := flate.NewReaderDict(strings.NewReader(payload+flushEnd+"\x01"+flushEnd), []byte(d.seen))
	all, err := io.ReadAll(r)
	if err != nil {
		d.t.Fatalf("inflating %d bytes behind %d: %v", len(payload), len(d.seen), err)
	}
	if d.shown {
		d.seen += string(all)
		d.seen = d.seen[max(0, len(d.seen)-1<<15):]
	}
	return op, string(all)
}

func (d *deflater) expectMessage(op byte, want string) {
	d.t.Helper()
	if gotOp, got := d.message(); gotOp != op || got != want {
		d.t.Fatalf("message %x %.80q (%d bytes), want %x %.80q (%d bytes)", gotOp, got, len(got), op, want, len(want))
	}
}

// news is text that compresses, and differs from seed to seed.
func news(size int, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0))
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, `{"id":%d,"price":%.2f,"who":"%x","city":"Zürich"},`, r.Uint32N(1e6), r.Float64()*1000, r.Uint64())
	}
	return strings.ToValidUTF8(b.String()[:size], ".")
}
