package ws_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// scanSplit scans data as it arrives in pieces of size bytes.
func scanSplit(data []byte, size int, lim ws.HeadLimits) (end int, err error) {
	var s ws.HeadScanner
	for n := 0; end == 0 && err == nil && n < len(data); {
		n = min(n+size, len(data))
		end, err = s.Scan(data[:n], lim)
	}
	return end, err
}

func TestHeadScannerFindsTheEnd(t *testing.T) {
	heads := map[string]string{
		"shortest":               "A / HTTP/1.1\r\n\r\n",
		"HTTP/1.0":               head("GET /healthz HTTP/1.0"),
		"empty line first":       "\r\n" + upgrade(),
		"longest method":         head(strings.Repeat("M", 32) + " / HTTP/1.1"),
		"obs-text in a value":    upgrade("X-Name: caf\xe9 \x80\xff"),
		"obs-text in the target": head("GET /caf\xc3\xa9?name=J\xfc\x80\xff HTTP/1.1", "Host: a"),
		"tab in a value":         upgrade("X-Name:\ta\tb\t"),
		"empty value":            head("GET / HTTP/1.1", "Host: a", "X-Empty:"),
		"all of tchar":           head("GET / HTTP/1.1", "!#$%&'*+-.^_`|~09azAZ: x"),
	}
	for _, c := range realHeads {
		heads[c.name] = c.head
	}
	for name, h := range heads {
		t.Run(name, func(t *testing.T) {
			// What follows the head, however absurd, is not its business.
			data := []byte(h + "\x00\x81\x85 GET\r\n\r\n")
			for size := 1; size <= len(data); size++ {
				if end, err := scanSplit(data, size, ws.HeadLimits{}); end != len(h) || err != nil {
					t.Fatalf("pieces of %d bytes: end %d, %v; want %d", size, end, err, len(h))
				}
			}
			for n := range len(h) {
				var s ws.HeadScanner
				if end, err := s.Scan(data[:n], ws.HeadLimits{}); end != 0 || err != nil {
					t.Fatalf("first %d bytes: end %d, %v; want more", n, end, err)
				}
				if end, err := s.Scan(data, ws.HeadLimits{}); end != len(h) || err != nil {
					t.Fatalf("split at %d: end %d, %v; want %d", n, end, err, len(h))
				}
			}
		})
	}
}

// The last byte of each of these is the one that makes it wrong.
var wrongHeads = []struct{ name, bytes string }{
	{"TLS", "\x16"},
	{"SOCKS", "\x05"},
	{"NUL first", "\x00"},
	{"binary garbage", "\xfe"},
	{"SSH", "SSH-2.0-OpenSSH_9.6\r"},
	{"PROXY line", "PROXY TCP4 1"},
	{"PROXY v2", "\r\n\r"},
	{"two empty lines first", "\r\n\r"},
	{"bare LF first", "\n"},
	{"bare CR first", "\rG"},
	{"space first", " "},
	{"colon in the method", "GET:"},
	{"NUL in the method", "GE\x00"},
	{"no target", "GET\r"},
	{"HTTP/0.9", "GET /\r"},
	{"bare LF behind the target", "GET /\n"},
	{"tab in the target", "GET /a\t"},
	{"NUL in the target", "GET /\x00"},
	{"DEL in the target", "GET /\x7f"},
	{"fragment", "GET /a#"},
	{"space in the target", "GET /a b"},
	{"two spaces before the target", "GET  /"},
	{"two spaces before the version", "GET /  "},
	{"version in lower case", "GET / h"},
	{"version HTTP/1.:", "GET / HTTP/1.:"},
	{"version HTTP/11", "GET / HTTP/11"},
	{"version HTTP/1.10", "GET / HTTP/1.10"},
	{"version with a space", "GET / HTTP/1.1 "},
	{"bare LF behind the version", "GET / HTTP/1.1\n"},
	{"bare CR behind the version", "GET / HTTP/1.1\rH"},
	{"folded at the first field", "GET / HTTP/1.1\r\n "},
	{"folded with a space", "GET / HTTP/1.1\r\nA: b\r\n "},
	{"folded with a tab", "GET / HTTP/1.1\r\nA: b\r\n\t"},
	{"bare LF ends the head", "GET / HTTP/1.1\r\nA: b\r\n\n"},
	{"bare CR ends the head", "GET / HTTP/1.1\r\nA: b\r\n\r\r"},
	{"empty name", "GET / HTTP/1.1\r\n:"},
	{"space in a name", "GET / HTTP/1.1\r\nHost "},
	{"slash in a name", "GET / HTTP/1.1\r\nA/"},
	{"not ASCII in a name", "GET / HTTP/1.1\r\nA\xe9"},
	{"NUL in a name", "GET / HTTP/1.1\r\nA\x00"},
	{"line without a colon", "GET / HTTP/1.1\r\nHost\r"},
	{"NUL in a value", "GET / HTTP/1.1\r\nA: \x00"},
	{"ESC in a value", "GET / HTTP/1.1\r\nA: \x1b"},
	{"DEL in a value", "GET / HTTP/1.1\r\nA: \x7f"},
	{"bare LF in a value", "GET / HTTP/1.1\r\nA: b\n"},
	{"bare CR in a value", "GET / HTTP/1.1\r\nA: b\rc"},
}

func TestHeadScannerRefusesAtTheWrongByte(t *testing.T) {
	for _, c := range wrongHeads {
		t.Run(c.name, func(t *testing.T) {
			var s ws.HeadScanner
			data := []byte(c.bytes)
			if end, err := s.Scan(data[:len(data)-1], ws.HeadLimits{}); end != 0 || err != nil {
				t.Fatalf("before the wrong byte: end %d, %v", end, err)
			}
			for range 2 { // it stays refused
				if end, err := s.Scan(data, ws.HeadLimits{}); end != 0 || status(err) != 400 {
					t.Fatalf("end %d, %v; want a 400", end, err)
				}
			}
			whole := []byte(c.bytes + "\r\nHost: a\r\n\r\n")
			var r ws.Request
			if err := r.Parse(whole); status(err) != 400 {
				t.Errorf("Parse: %v, want a 400", err)
			}
			for size := 1; size <= len(whole); size++ {
				if end, err := scanSplit(whole, size, ws.HeadLimits{}); end != 0 || status(err) != 400 {
					t.Fatalf("pieces of %d bytes: end %d, %v; want a 400", size, end, err)
				}
			}
		})
	}
}

func TestHeadScannerLimits(t *testing.T) {
	sized := func(n int) string {
		h := upgrade("X-Fill: ")
		return strings.Replace(h, "X-Fill: ", "X-Fill: "+strings.Repeat("x", n-len(h)), 1)
	}
	lined := func(n int) string { // n lines with the request line
		return head("GET / HTTP/1.1" + strings.Repeat("\r\nA:", n-1))
	}
	cases := []struct {
		name string
		head string
		lim  ws.HeadLimits
		want int
	}{
		{"default bytes", sized(16 << 10), ws.HeadLimits{}, 0},
		{"default bytes + 1", sized(16<<10 + 1), ws.HeadLimits{}, 431},
		{"bytes", sized(1000), ws.HeadLimits{Bytes: 1000}, 0},
		{"bytes + 1", sized(1001), ws.HeadLimits{Bytes: 1000}, 431},
		{"an empty line counts", "\r\n" + sized(999), ws.HeadLimits{Bytes: 1000}, 431},
		{"default lines", lined(100), ws.HeadLimits{}, 0},
		{"default lines + 1", lined(101), ws.HeadLimits{}, 431},
		{"lines", lined(3), ws.HeadLimits{Lines: 3}, 0},
		{"lines + 1", lined(4), ws.HeadLimits{Lines: 3}, 431},
		{"200,000 lines", lined(200_000), ws.HeadLimits{Bytes: 8 << 20}, 431},
		{"8 MiB in one line", sized(8 << 20), ws.HeadLimits{}, 431},
		{"8 MiB target", "GET /" + strings.Repeat("a", 8<<20), ws.HeadLimits{}, 414},
		{"17 KB target", head("GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1"), ws.HeadLimits{}, 414},
		{"target that fills it", "GET /" + strings.Repeat("a", 95), ws.HeadLimits{Bytes: 100}, 414},
		{"target that ends", "GET /" + strings.Repeat("a", 94) + " ", ws.HeadLimits{Bytes: 100}, 431},
		{"method of 33 bytes", strings.Repeat("M", 33), ws.HeadLimits{}, 501},
		{"method of 33 bytes, behind an empty line", "\r\n" + strings.Repeat("M", 33), ws.HeadLimits{}, 501},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			data := []byte(c.head)
			for _, size := range []int{1, 7, len(data)} {
				end, err := scanSplit(data, size, c.lim)
				if status(err) != c.want || c.want == 0 && end != len(data) {
					t.Fatalf("pieces of %d bytes: end %d, %v; want status %d", size, end, err, c.want)
				}
			}
		})
	}
}

func TestHeadScannerDoesNotWaitPastTheLimit(t *testing.T) {
	var s ws.HeadScanner
	data := []byte(upgrade())
	lim := ws.HeadLimits{Bytes: len(data) - 1}
	if end, err := s.Scan(data[:len(data)-1], lim); end != 0 || status(err) != 431 {
		t.Fatalf("full and without an end: end %d, %v; want a 431", end, err)
	}
}

func TestHeadScannerLooksAtEachByteOnce(t *testing.T) {
	var s ws.HeadScanner
	h := []byte(realHeads[0].head)
	data := make([]byte, len(h))
	for n := range h {
		clear(data) // NULs would be refused, were they looked at
		data[n] = h[n]
		end, err := s.Scan(data[:n+1], ws.HeadLimits{})
		if err != nil {
			t.Fatalf("byte %d: %v", n, err)
		}
		if (end > 0) != (n == len(h)-1) {
			t.Fatalf("byte %d: end %d", n, end)
		}
	}
	if end, err := s.Scan(h, ws.HeadLimits{}); end != len(h) || err != nil {
		t.Fatalf("again after the end: %d, %v", end, err)
	}
}

func TestHeadScannerIsSmall(t *testing.T) {
	if size := reflect.TypeFor[ws.HeadScanner]().Size(); size > 24 {
		t.Errorf("HeadScanner takes %d bytes, want at most 24", size)
	}
	data := []byte(realHeads[0].head)
	wrong := []byte("GET / HTTP/1.1\r\nA: \x00")
	allocs := testing.AllocsPerRun(100, func() {
		var s, bad ws.HeadScanner
		_, _ = s.Scan(data, ws.HeadLimits{})
		_, _ = bad.Scan(wrong, ws.HeadLimits{})
	})
	if allocs != 0 {
		t.Errorf("Scan: %v allocations, want 0", allocs)
	}
}
