package load_test

import (
	"bytes"
	"net/http/httputil"
	"reflect"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/sse"
)

// streams are event streams with all that the format has.
var streams = []string{
	"data: a\n\n:\n\ndata: b\n\n",
	"retry: 1000\nevent: tick\nid: 7\ndata: a\ndata:b\ndata\n\ndata:  c\n\n",
	"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n\r",
	"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n",
	"data\n\ndata:\n\ndata: \n\n\n\n\n",
	": a comment that is longer than any name\nidentity: x\nDATA: 1\n data: 2\ndatas: 3\ndata : 4\n\ndata: 5\n\n",
	"data: a\n\nretry: 1500\nevent: close\ndata: {\"code\":1001}\n\n",
	"event: close\n\ndata: a\n\nevent:close\nevent\ndata: b\n\nevent: closed and more\ndata: c\n\ndata: d\nevent: close\n\n",
	"data: cut off",
}

// reference reads a stream with package sse.
func reference(stream []byte) (all []load.StreamEvent) {
	for r := sse.NewReader(bytes.NewReader(stream)); ; {
		e, err := r.Next()
		if err != nil {
			return all
		}
		all = append(all, load.StreamEvent{Data: string(e.Data), Last: e.Name == "close"})
	}
}

// cut gives pieces of at most so many bytes.
func cut(b []byte, most int) [][]byte { return slices.Collect(slices.Chunk(b, max(most, 1))) }

// inChunks is a body in chunks of so many bytes, and whole or not.
func inChunks(body []byte, size int) []byte {
	var out bytes.Buffer
	w := httputil.NewChunkedWriter(&out)
	for _, part := range cut(body, size) {
		_, _ = w.Write(part) // into memory
	}
	_ = w.Close()
	return append(out.Bytes(), "\r\n"...)
}

// FuzzEvents: events are those that package sse reads, whatever their bytes and wherever
// they are cut, in chunks or not.
func FuzzEvents(f *testing.F) {
	for _, stream := range streams {
		f.Add([]byte(stream), 3, 5)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size, most int) {
		want := reference(stream)
		for _, pieces := range [][][]byte{{stream}, cut(stream, 1), cut(stream, most)} {
			if got, _, err := load.ReadEvents(false, pieces); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %+v, %v; want %+v", pieces, got, err, want)
			}
		}
		body := inChunks(stream, size)
		for _, pieces := range [][][]byte{{body}, cut(body, 1), cut(body, most)} {
			if got, ended, err := load.ReadEvents(true, pieces); err != nil || !ended || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %+v, ended %v, %v; want %+v", pieces, got, ended, err, want)
			}
		}
	})
}

// FuzzChunks: a body says the same wherever it is cut, also if it is none in chunks.
func FuzzChunks(f *testing.F) {
	for _, stream := range streams {
		f.Add(inChunks([]byte(stream), 7), 3)
	}
	for _, body := range []string{
		"5;name=value\r\ndata:\r\n3 \n1\n\n\r\n0\r\nTrailer: x\r\n\r\nmore", "0000A\r\ndata:12345\r\n", "x\r\n", "\r\n", "5\r\ndata:x\r\n",
		"-1\r\n", "ffffffffffffffff\r\nx", "7fffffffffffffff\r\ndata:\n\n", "1x\r\n",
	} {
		f.Add([]byte(body), 2)
	}
	f.Fuzz(func(t *testing.T, body []byte, most int) {
		events, ended, err := load.ReadEvents(true, [][]byte{body})
		for _, pieces := range [][][]byte{cut(body, 1), cut(body, most)} {
			if got, gotEnded, gotErr := load.ReadEvents(true, pieces); !reflect.DeepEqual(got, events) || gotEnded != ended || (gotErr == nil) != (err == nil) {
				t.Errorf("%q: %+v, %v, %v; as a whole %+v, %v, %v", pieces, got, gotEnded, gotErr, events, ended, err)
			}
		}
	})
}

// TestChunks: what is no body in chunks is noticed, and what is around them bounded.
func TestChunks(t *testing.T) {
	for _, body := range []string{
		"\r\n", "data: a\n\n", "-1\r\n", "1x\r\n", "10000000000000000\r\n", "2\r\na\nx",
		"1;" + string(bytes.Repeat([]byte("x"), 20<<10)), "0\r\n" + string(bytes.Repeat([]byte("X: y\r\n"), 5<<10)),
		string(bytes.Repeat([]byte("0"), 300)),
	} {
		if _, _, err := load.ReadEvents(true, [][]byte{[]byte(body)}); err == nil {
			t.Errorf("%.40q is taken for chunks", body)
		}
	}
	got, ended, err := load.ReadEvents(true, [][]byte{[]byte("5;name=value\r\ndata:\r\n3 \na\n\n\r\n000\r\nTrailer: x\r\n\r\nmore")})
	if want := []load.StreamEvent{{Data: "a"}}; err != nil || !ended || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, %v; want %+v to the end", got, ended, err, want)
	}
}
