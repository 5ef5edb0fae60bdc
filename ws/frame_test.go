package ws_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestAppendHeader(t *testing.T) {
	cases := []struct {
		op     ws.Opcode
		fin    bool
		length int
		want   string
	}{
		{ws.Text, true, 0, "\x81\x00"},
		{ws.Binary, true, 125, "\x82\x7d"},
		{ws.Binary, false, 126, "\x02\x7e\x00\x7e"},
		{ws.Continuation, false, 65535, "\x00\x7e\xff\xff"},
		{ws.Continuation, true, 65536, "\x80\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
		{ws.Ping, true, 3, "\x89\x03"},
	}
	for _, c := range cases {
		if got := ws.AppendHeader([]byte("x"), c.op, c.fin, c.length); string(got) != "x"+c.want {
			t.Errorf("%v, fin %v, %d bytes: %q", c.op, c.fin, c.length, got)
		}
	}
}

// TestFramesRoundTrip masks what the server would send, and gives it to the
// decoder.
func TestFramesRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		payload := strings.Repeat("é", n)[:n/2*2]
		whole := ws.AppendFrame(nil, ws.Text, []byte(payload))
		parts := [][]byte{
			ws.AppendFragment(nil, ws.Text, false, []byte(payload)),
			ws.AppendFrame(nil, ws.Ping, []byte("ping")),
			ws.AppendFragment(nil, ws.Continuation, true, []byte(payload)),
		}
		wire := mask(whole)
		for _, part := range parts {
			wire = append(wire, mask(part)...)
		}
		got := decode(t, &ws.Decoder{}, wire)
		want := []event{{ws.Text, payload}, {ws.Ping, "ping"}, {ws.Text, payload + payload}}
		if got.code != 0 || !slices.Equal(got.events, want) {
			t.Errorf("%d bytes: %v, error %d", n, got.events, got.code)
		}
	}
}

// mask makes a client's frame of a server's.
func mask(frame []byte) []byte {
	header := 2 + map[byte]int{126: 2, 127: 8}[frame[1]]
	key := []byte{0xde, 0xad, 0xbe, 0xef}
	out := append(bytes.Clone(frame[:header]), key...)
	out[1] |= 0x80
	for i, c := range frame[header:] {
		out = append(out, c^key[i%4])
	}
	return out
}

func TestAppendAllocatesNothing(t *testing.T) {
	dst, payload := make([]byte, 0, 256), make([]byte, 64)
	got := testing.AllocsPerRun(100, func() {
		ws.AppendFrame(dst, ws.Binary, payload)
		ws.AppendFragment(dst, ws.Binary, false, payload)
		ws.AppendClose(dst, ws.CodeGoingAway, "a reason\xff")
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestPrepared(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65536} {
		payload := bytes.Repeat([]byte("a"), n)
		want := ws.AppendFrame(nil, ws.Binary, payload)
		p := ws.Prepare(ws.Binary, payload)
		clear(payload)
		if p.Opcode() != ws.Binary || p.Len() != n || !bytes.Equal(p.Frame(), want) {
			t.Errorf("%d bytes: %v of %d, %.20q", n, p.Opcode(), p.Len(), p.Frame())
		}
		_ = append(p.Frame(), "more"...)
		if !bytes.Equal(p.Frame(), want) || cap(p.Frame()) != len(want) {
			t.Errorf("%d bytes: appending to the frame reaches it", n)
		}
	}
}

// TestPreparedFromManyGoroutines is for the race detector.
func TestPreparedFromManyGoroutines(t *testing.T) {
	p := ws.Prepare(ws.Text, []byte("news"))
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			if out := append([]byte(nil), p.Frame()...); len(out) != p.Len()+2 || p.Opcode() != ws.Text {
				t.Errorf("%q", out)
			}
		})
	}
	readers.Wait()
}

func ExampleDecoder() {
	// "Hello" in two masked fragments with a ping between them, as the bytes
	// may come from a socket.
	in := []byte("\x01\x83\x00\x00\x00\x00Hel" + "\x89\x80\x00\x00\x00\x00" + "\x80\x82\x00\x00\x00\x00lo")
	var d ws.Decoder
	for {
		m, rest, err := d.Next(in)
		if err != nil || m.Opcode == 0 {
			break
		}
		fmt.Printf("%s %q\n", m.Opcode, m.Payload)
		in = rest
	}
	d.Release()
	// Output:
	// ping ""
	// text "Hello"
}

func ExampleAppendClose() {
	fmt.Printf("%q\n", ws.AppendClose(nil, ws.CodeGoingAway, "maintenance"))
	// Output:
	// "\x88\r\x03\xe9maintenance"
}
