package ws_test

import (
	"slices"
	"testing"

	"github.com/millrace/millrace/ws"
)

// piece is a Message as Decoder.Stream gives it.
type piece struct {
	op      ws.Opcode
	more    bool
	payload string
}

func TestDecoderStreams(t *testing.T) {
	cases := []struct {
		name  string
		reads []string
		want  []piece
	}{
		{"whole", []string{masked("\x81\x82", "ab")}, []piece{{ws.Text, false, "ab"}}},
		{"empty", []string{masked("\x82\x80", "")}, []piece{{ws.Binary, false, ""}}},
		{"a frame in three reads", []string{masked("\x82\x84", ""), "ab", "cd"},
			[]piece{{ws.Binary, true, "ab"}, {ws.Binary, false, "cd"}}},
		{"two fragments in one read", []string{fragment + masked("\x80\x81", "c")},
			[]piece{{ws.Text, true, "ab"}, {ws.Text, false, "c"}}},
		{"empty last piece", []string{fragment, masked("\x00\x80", ""), masked("\x80\x80", "")},
			[]piece{{ws.Text, true, "ab"}, {ws.Text, false, ""}}},
		{"ping between pieces", []string{fragment + masked("\x89\x81", "p") + masked("\x80\x81", "c")},
			[]piece{{ws.Text, true, "ab"}, {ws.Ping, false, "p"}, {ws.Text, false, "c"}}},
		{"cut inside a rune", []string{masked("\x81\x84", "a\xe2"), "\x82", "\xac"},
			[]piece{{ws.Text, true, "a\xe2"}, {ws.Text, true, "\x82"}, {ws.Text, false, "\xac"}}},
	}
	for _, c := range cases {
		d := ws.Decoder{Stream: true}
		var got []piece
		for _, read := range c.reads {
			in := []byte(read)
			for {
				m, rest, err := d.Next(in)
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				if m.Opcode == 0 {
					break
				}
				got = append(got, piece{m.Opcode, m.More, string(m.Payload)})
				in = rest
			}
			if d.Buffered() != 0 {
				t.Errorf("%s: %d bytes buffered", c.name, d.Buffered())
			}
		}
		if !slices.Equal(got, c.want) || !d.Idle() {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}
