package server_test

import (
	"testing"

	"github.com/millrace/millrace/poller/simnet"
)

// TestBadUTF8: "Bad, overlong, surrogate, > U+10FFFF, ends mid-rune => 1007",
// also in parts, and "bad byte in an unfinished frame or fragment => 1007 at
// once".
func TestBadUTF8(t *testing.T) {
	t.Parallel()
	onTransports(t, testBadUTF8)
}

func testBadUTF8(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, nil)
	for line, texts := range map[string][]string{
		"bad":        {"\xff", "ok\x80", "\xc3\x28", "\xe2\x28\xa1", "\xfe\xfe"},
		"overlong":   {"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf"},
		"surrogate":  {"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\xbd\xed\xb8\x80"},
		"> U+10FFFF": {"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80"},
	} {
		t.Run(line, func(t *testing.T) {
			for _, text := range texts {
				for name, stream := range map[string]string{
					"frame":               frame(opText, text),
					"last fragment":       fragment(opText, "a") + frame(opContinuation, text),
					"split over frames":   fragment(opText, text[:1]) + frame(opContinuation, text[1:]),
					"unfinished frame":    unfinished(opText, text),
					"unfinished message":  fragment(opText, text),
					"unfinished fragment": fragment(opText, "a\xc3") + unfinished(opContinuation, "\xa4"+text),
				} {
					c := dial(t, addr).upgraded()
					c.send(stream)
					c.expectClose(1007)
					if t.Failed() {
						t.Fatalf("%s: %q", name, text)
					}
					_ = c.Close()
				}
			}
		})
	}
	t.Run("ends mid-rune", func(t *testing.T) {
		for _, stream := range []string{
			frame(opText, "\xc3"), frame(opText, "a\xf0\x9f\x98"), fragment(opText, "\xe2\x82") + frame(opContinuation, ""),
		} {
			c := dial(t, addr).upgraded()
			c.send(stream)
			c.expectClose(1007)
		}
	})
}

// unfinished is a frame with the payload and ten bytes more, which are missing.
func unfinished(op byte, payload string) string {
	whole := frame(op, payload+"0123456789")
	return whole[:len(whole)-10]
}

// TestRuneAcross: "rune across frames and segments => fine"; binary messages may
// hold anything.
func TestRuneAcross(t *testing.T) {
	t.Parallel()
	const text = "\u00e4\u20ac\U0001f600\U0010ffff\x00\ufeff\uffff"
	t.Run("frames", overTransports(func(t *testing.T, serve serving) {
		addr, _ := serve(t, nil)
		c := dial(t, addr).upgraded()
		for i := 1; i < len(text); i++ {
			c.send(fragment(opText, text[:i]) + fragment(opContinuation, "") + frame(opContinuation, text[i:]))
			c.expect(opText, text)
		}
	}))
	t.Run("segments", func(t *testing.T) {
		n, addr, _ := startSim(t, simnet.Config{}, nil)
		c := dialSim(t, n, addr).upgraded()
		stream := frame(opText, text)
		for i := 1; i < len(stream); i++ {
			c.send(stream[:i])
			idle(t, n)
			c.send(stream[i:])
			c.expect(opText, text)
		}
	})
	t.Run("binary", overTransports(func(t *testing.T, serve serving) {
		addr, _ := serve(t, nil)
		c := dial(t, addr).upgraded()
		c.send(frame(opBinary, "\xff\xfe\xc3") + fragment(opBinary, "\xed") + frame(opContinuation, "\xa0"))
		c.expect(opBinary, "\xff\xfe\xc3")
		c.expect(opBinary, "\xed\xa0")
	}))
}
