package frames_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/millrace/millrace/bench/peers/frames"
	"github.com/millrace/millrace/bench/peers/peer"
)

// sent is a frame as a client sends it; answer, as a server does.
func sent(opcode ws.OpCode, fin bool, payload string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(opcode, fin, []byte(payload))))
}

func answer(opcode ws.OpCode, payload string) []byte {
	return ws.MustCompileFrame(ws.NewFrame(opcode, true, []byte(payload)))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// long is a header that announces n bytes.
func long(n int64) []byte {
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, ws.Header{Fin: true, OpCode: ws.OpBinary, Masked: true, Length: n})
	return b.Bytes()
}

var (
	kib      = strings.Repeat("0123456789abcdef", 64)
	protocol = ws.CompiledCloseProtocolError
	unmasked = ws.MustCompileFrame(ws.NewTextFrame([]byte("hello")))
	longForm = []byte{0x81, 0xfe, 0, 5, 1, 2, 3, 4, 'h' ^ 1, 'e' ^ 2, 'l' ^ 3, 'l' ^ 4, 'o' ^ 1} // a length of 5 in the form for more
)

func TestAnswer(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want []byte
		err  error
	}{
		{"an empty message", sent(ws.OpText, true, ""), answer(ws.OpText, ""), nil},
		{"three messages", join(sent(ws.OpText, true, "one"), sent(ws.OpBinary, true, kib), sent(ws.OpText, true, "three")),
			join(answer(ws.OpText, "one"), answer(ws.OpBinary, kib), answer(ws.OpText, "three")), nil},
		{"a message of 64 KiB after a short one", join(sent(ws.OpText, true, "a"), sent(ws.OpBinary, true, strings.Repeat(kib, 64))),
			join(answer(ws.OpText, "a"), answer(ws.OpBinary, strings.Repeat(kib, 64))), nil},
		{"a long form of a short length", join(longForm, sent(ws.OpText, true, "b")), join(answer(ws.OpText, "hello"), answer(ws.OpText, "b")), nil},
		{"fragments between others", join(sent(ws.OpText, true, "a"), sent(ws.OpText, false, kib), sent(ws.OpPing, true, "p"),
			sent(ws.OpContinuation, false, ""), sent(ws.OpContinuation, true, "end"), sent(ws.OpText, true, "z")),
			join(answer(ws.OpText, "a"), answer(ws.OpPong, "p"), answer(ws.OpText, kib+"end"), answer(ws.OpText, "z")), nil},
		{"a pong", join(sent(ws.OpPong, true, "p"), sent(ws.OpText, true, "a")), answer(ws.OpText, "a"), nil},
		{"close, and something after it", join(sent(ws.OpText, true, "a"), sent(ws.OpClose, true, "\x03\xe8bye"), sent(ws.OpText, true, "b")),
			join(answer(ws.OpText, "a"), answer(ws.OpClose, "\x03\xe8bye")), io.EOF},
		{"no mask", join(sent(ws.OpText, true, "a"), unmasked), join(answer(ws.OpText, "a"), protocol), ws.ErrProtocolMaskRequired},
		{"a continuation of nothing", sent(ws.OpContinuation, true, "a"), protocol, ws.ErrProtocolContinuationUnexpected},
		{"a message in another", join(sent(ws.OpText, false, "a"), sent(ws.OpText, true, "b")), protocol, ws.ErrProtocolContinuationExpected},
		{"too long", long(peer.MaxMessage + 1), protocol, frames.ErrTooLong},
		{"as long as can be", long(1<<63 - 1), protocol, frames.ErrTooLong},
		{"too long in parts", join(sent(ws.OpText, false, kib), []byte{0x80, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4}), protocol, frames.ErrTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{len(tt.in), 1, 2, 7, 1000} {
				got, err := feed(t, bytes.Clone(tt.in), piece)
				if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
					t.Errorf("in pieces of %d: error %v, want %v", piece, err, tt.err)
				}
				if !bytes.Equal(got, tt.want) {
					t.Errorf("in pieces of %d: got %d bytes %.60q\nwant %d bytes %.60q", piece, len(got), got, len(tt.want), tt.want)
				}
			}
		})
	}
}

// feed gives Answer what comes in pieces, as a server does, and checks that what
// it asks for is enough and not more than there is.
func feed(t *testing.T, in []byte, piece int) (out []byte, err error) {
	t.Helper()
	var e frames.Echo
	var b bytes.Buffer
	need := 0
	for have := 0; have < len(in); {
		have = min(have+piece, len(in))
		if have < need {
			continue
		}
		var used int
		used, need, err = e.Answer(in[:have:have], &b)
		if err != nil {
			return b.Bytes(), err
		}
		in, have = in[used:], have-used
		if need <= have {
			t.Fatalf("needs %d bytes of which %d are there", need, have)
		}
	}
	if len(in) > 0 {
		t.Errorf("%d bytes were not used, it waits for %d", len(in), need)
	}
	return b.Bytes(), nil
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAnswerWriteFails(t *testing.T) {
	for _, in := range [][]byte{sent(ws.OpText, true, "a"), join(sent(ws.OpText, false, "a"), sent(ws.OpContinuation, true, "b"))} {
		var e frames.Echo
		if _, _, err := e.Answer(in, broken{}); err != io.ErrClosedPipe {
			t.Errorf("error %v, want that of Write", err)
		}
	}
}

// TestAnswerAllocates nothing for messages that are whole.
func TestAnswerAllocates(t *testing.T) {
	in := join(sent(ws.OpText, true, "a"), sent(ws.OpBinary, true, kib))
	work := make([]byte, len(in))
	var e frames.Echo
	if n := testing.AllocsPerRun(100, func() {
		copy(work, in)
		if _, _, err := e.Answer(work, io.Discard); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAnswerAll: messages go to all, and what is the connection's alone goes back.
func TestAnswerAll(t *testing.T) {
	in := join(sent(ws.OpText, true, "a"), sent(ws.OpPing, true, "p"), sent(ws.OpBinary, false, "b"), sent(ws.OpContinuation, true, kib),
		sent(ws.OpText, true, "c"), sent(ws.OpClose, true, "\x03\xe8"))
	var all, back bytes.Buffer
	e := frames.Echo{All: &all}
	if _, _, err := e.Answer(in, &back); err != io.EOF {
		t.Errorf("error %v, want that of a close frame", err)
	}
	if want := join(answer(ws.OpText, "a"), answer(ws.OpBinary, "b"+kib), answer(ws.OpText, "c")); !bytes.Equal(all.Bytes(), want) {
		t.Errorf("to all went %q, want %q", &all, want)
	}
	if want := join(answer(ws.OpPong, "p"), answer(ws.OpClose, "\x03\xe8")); !bytes.Equal(back.Bytes(), want) {
		t.Errorf("back went %q, want %q", &back, want)
	}
}

// deflating is an Echo that has agreed on compression, as far as it may.
func deflating(t *testing.T, may bool) *frames.Echo {
	t.Helper()
	const request = "GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
	var e frames.Echo
	var response bytes.Buffer
	if err := e.Upgrade(struct {
		io.Reader
		io.Writer
	}{strings.NewReader(request), &response}, may); err != nil {
		t.Fatal(err)
	}
	if agreed := strings.Contains(response.String(), "permessage-deflate"); agreed != may {
		t.Fatalf("it may: %t; the response is %q", may, &response)
	}
	return &e
}

// packed is a compressed frame as a client sends it.
func packed(t *testing.T, message string) []byte {
	t.Helper()
	frame, err := wsflate.CompressFrame(ws.NewTextFrame([]byte(message)))
	if err != nil {
		t.Fatal(err)
	}
	return ws.MustCompileFrame(ws.MaskFrame(frame))
}

func TestAnswerDeflated(t *testing.T) {
	e := deflating(t, true)
	parts := packed(t, kib)
	if len(parts) >= 125 {
		t.Fatalf("1 KiB became %d bytes", len(parts))
	}
	first := bytes.Clone(parts[:6]) // the same in two frames, the second without the bit
	first[0], first[1] = first[0]&^0x80, 0x80
	rest := bytes.Clone(parts)
	rest[0] = 0x80
	in := join(packed(t, kib), sent(ws.OpPing, true, "p"), sent(ws.OpText, true, "plain"), first, rest, packed(t, ""))
	var out bytes.Buffer
	if used, _, err := e.Answer(in, &out); err != nil || used != len(in) {
		t.Fatalf("used %d of %d bytes, %v", used, len(in), err)
	}
	for _, want := range []string{kib, "p", "plain", kib, ""} {
		header, err := ws.ReadHeader(&out)
		frame := ws.Frame{Header: header, Payload: out.Next(int(header.Length))}
		if err == nil && frame.Header.OpCode != ws.OpPong {
			if !frame.Header.Rsv1() {
				t.Errorf("%.10q is not compressed", want)
			}
			frame, err = wsflate.DecompressFrame(frame)
		}
		if err != nil || string(frame.Payload) != want {
			t.Errorf("got %.60q, %v; want %.60q", frame.Payload, err, want)
		}
	}
}

func TestAnswerDeflatedWrongly(t *testing.T) {
	garbage := ws.NewTextFrame([]byte("\xff\xff\xff"))
	garbage.Header.Rsv = ws.Rsv(true, false, false)
	for name, in := range map[string][]byte{
		"garbage":       ws.MustCompileFrame(ws.MaskFrame(garbage)),
		"too long":      packed(t, strings.Repeat("0", peer.MaxMessage+1)),
		"not agreed on": packed(t, kib),
	} {
		e := deflating(t, name != "not agreed on")
		if _, _, err := e.Answer(in, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
