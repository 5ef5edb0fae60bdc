package ws_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// scanChunks scans body, which comes in pieces of step bytes.
func scanChunks(body []byte, step int) (end int, done bool, err error) {
	var s ws.ChunkScanner
	for end < len(body) && !done && err == nil {
		var n int
		n, done, err = s.Scan(body[end:min(end+step, len(body))])
		end += n
	}
	return end, done, err
}

func TestChunkScanner(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 2000)
	for _, test := range []struct {
		name, body string
		rest       string // behind the body
		refused    bool
		unfinished bool
	}{
		{name: "empty", body: "0\r\n\r\n", rest: "GET"},
		{name: "one", body: "5\r\nhello\r\n0\r\n\r\n"},
		{name: "two, in hexadecimal of any case", body: "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", rest: "\r\n"},
		{name: "leading zeros", body: "0005\r\nhello\r\n000\r\n\r\n"},
		{name: "data that looks like framing", body: "5\r\n0\r\n\r\n\r\n0\r\n\r\n"},
		{name: "extensions", body: "5;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n"},
		{name: "white space before an extension", body: "5 ;a\r\nhello\r\n0\r\n\r\n", refused: true}, // as net/http
		{name: "trailers", body: "0\r\nX-Sum: 12 \r\nB:\r\n\r\n", rest: "GET / HTTP/1.1\r\n"},
		{name: "unfinished data", body: "5\r\nhel", unfinished: true},
		{name: "unfinished end", body: "0\r\n\r", unfinished: true},
		{name: "LF alone behind the size", body: "5\nhello\r\n0\r\n\r\n", refused: true},
		{name: "LF alone behind the data", body: "5\r\nhello\n0\r\n\r\n", refused: true},
		{name: "LF alone at the end", body: "0\r\n\n", refused: true},
		{name: "LF alone in a trailer", body: "0\r\nA: b\n\r\n", refused: true},
		{name: "no size", body: "\r\nhello", refused: true},
		{name: "no digit", body: "g\r\n", refused: true},
		{name: "a sign", body: "+5\r\nhello\r\n", refused: true},
		{name: "0x", body: "0x5\r\nhello\r\n", refused: true},
		{name: "a space before the size", body: " 5\r\nhello\r\n", refused: true},
		{name: "a space behind the size", body: "5 \r\nhello\r\n", refused: true},
		{name: "too long a size", body: "0000000000000005\r\nhello\r\n", refused: true},
		{name: "data longer than its size", body: "4\r\nhello\r\n", refused: true},
		{name: "a control in an extension", body: "5;a\x01\r\nhello\r\n", refused: true},
		{name: "too long an extension", body: "5;" + long + "\r\nhello\r\n", refused: true},
		{name: "a folded trailer", body: "0\r\nA: b\r\n c\r\n\r\n", refused: true},
		{name: "a trailer without a name", body: "0\r\n: b\r\n\r\n", refused: true},
		{name: "too long a trailer", body: "0\r\nA: " + long + long + long + "\r\n\r\n", refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 7, 1 << 20} {
				end, done, err := scanChunks([]byte(test.body+test.rest), step)
				var refusal *ws.Refusal
				switch {
				case test.refused:
					if !errors.As(err, &refusal) || refusal.Status != 400 {
						t.Errorf("in steps of %d: error %v, want a 400", step, err)
					}
				case err != nil || done == test.unfinished || end != len(test.body):
					t.Errorf("in steps of %d: end %d, done %v, error %v", step, end, done, err)
				}
			}
		})
	}
}

// TestChunkScannerStays: what was wrong stays wrong.
func TestChunkScannerStays(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"x", "5\r\nhello!", "5 5", "0\r\n\x00"} {
		var s ws.ChunkScanner
		_, _, first := s.Scan([]byte(bad))
		n, done, again := s.Scan([]byte("5\r\nhello\r\n0\r\n\r\n"))
		if first == nil || again == nil || n != 0 || done {
			t.Errorf("%q: %v, and then %d, %v, %v", bad, first, n, done, again)
		}
	}
}

func TestRequestBody(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]struct {
		length  int64
		chunked bool
	}{
		"":                                     {},
		"Content-Length: 0\r\n":                {},
		"Content-Length: 17\r\n":               {length: 17},
		"transfer-encoding: chunked\r\n":       {chunked: true},
		"Transfer-Encoding: gzip, Chunked\r\n": {chunked: true},
	} {
		var r ws.Request
		if err := r.Parse([]byte("POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n")); err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		if length, chunked := r.Body(); length != want.length || chunked != want.chunked {
			t.Errorf("%q: %d, %v", lines, length, chunked)
		}
	}
}

// FuzzChunkScanner: a body that the scanner takes ends for net/http's reader where it
// does for the scanner, however it comes.
func FuzzChunkScanner(f *testing.F) {
	for _, seed := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "5 ;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
		"ffffffffffffffff\r\n", "1\r\na\r\n01;x\r\nb\r\n0\r\n\r\n",
	} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, body []byte, step int) {
		end, done, err := scanChunks(body, 1<<30)
		if stepEnd, stepDone, stepErr := scanChunks(body, max(step, 1)); stepEnd != end || stepDone != done || stepErr != err {
			t.Fatalf("in steps of %d: %d, %v, %v, at once %d, %v, %v", step, stepEnd, stepDone, stepErr, end, done, err)
		}
		if !done {
			return
		}
		under := bytes.NewReader(body)
		r := bufio.NewReader(under)
		_, err = io.Copy(io.Discard, httputil.NewChunkedReader(r))
		if err != nil && strings.Contains(err.Error(), "too much overhead") {
			return // net/http refuses what is mostly framing
		}
		if err != nil {
			t.Fatalf("%q: net/http says %v", body, err)
		}
		if _, err := textproto.NewReader(r).ReadMIMEHeader(); err != nil {
			t.Fatalf("%q: net/http says of the trailer: %v", body, err)
		}
		if rest := under.Len() + r.Buffered(); len(body)-rest != end {
			t.Fatalf("%q: ends at %d, net/http's at %d", body, end, len(body)-rest)
		}
	})
}
