package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/millrace/millrace/sse"
)

func TestAppendEvent(t *testing.T) {
	for _, test := range []struct {
		event sse.Event
		want  string
	}{
		{sse.Event{Data: []byte("hello")}, "data: hello\n\n"},
		{sse.Event{Data: []byte{}}, "data: \n\n"},
		{sse.Event{}, "\n"},
		{sse.Event{ID: "7"}, "id: 7\n\n"},
		{sse.Event{Data: []byte(" a: b ")}, "data:  a: b \n\n"},
		{sse.Event{Data: []byte("a\nb\r\nc\rd")}, "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		{sse.Event{Data: []byte("a\n\n")}, "data: a\ndata: \ndata: \n\n"},
		{sse.Event{Data: []byte("\r\r\n\n\r")}, "data: \ndata: \ndata: \ndata: \ndata: \n\n"},
		{sse.Event{ID: "e-1", Name: "tick", Data: []byte("1"), Retry: 1500 * time.Millisecond}, "retry: 1500\nevent: tick\nid: e-1\ndata: 1\n\n"},
		{sse.Event{ID: "a\nb", Name: "c\rd", Data: []byte("e"), Retry: -1}, "data: e\n\n"},
		{sse.Event{ID: "a\x00", Name: "\x00", Data: []byte("e"), Retry: time.Microsecond}, "data: e\n\n"},
	} {
		if got := string(sse.AppendEvent([]byte("before "), test.event)); got != "before "+test.want {
			t.Errorf("%+v: %q, want %q", test.event, got, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		event sse.Event
		want  error
	}{
		{sse.Event{}, nil},
		{sse.Event{ID: "ü: 1", Name: "a b", Data: []byte("\r\n\x00"), Retry: time.Millisecond}, nil},
		{sse.Event{ID: "a\nb"}, sse.ErrID},
		{sse.Event{ID: "a\r"}, sse.ErrID},
		{sse.Event{ID: "\x00"}, sse.ErrID},
		{sse.Event{Name: "\n"}, sse.ErrName},
		{sse.Event{Name: "a\rb"}, sse.ErrName},
		{sse.Event{Name: "\x00a"}, sse.ErrName},
		{sse.Event{Retry: -time.Second}, sse.ErrRetry},
		{sse.Event{Retry: time.Microsecond}, sse.ErrRetry},
	} {
		if err := test.event.Check(); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.event, err, test.want)
		}
	}
}

// readAll gives all events of a stream, and how it ended.
func readAll(r *sse.Reader) (events []sse.Event, err error) {
	for {
		e, err := r.Next()
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

// event is an sse.Event in short.
func event(id, name, data string) sse.Event { return sse.Event{ID: id, Name: name, Data: []byte(data)} }

// TestReader has the examples of the standard, and what it says of each field.
func TestReader(t *testing.T) {
	for _, test := range []struct {
		name, stream string
		want         []sse.Event
		lastID       string
	}{
		{"lines", "data: YHOO\ndata: +2\ndata: 10\n\n", []sse.Event{event("", "message", "YHOO\n+2\n10")}, ""},
		{"ids", ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
			[]sse.Event{event("1", "message", "first event"), event("", "message", "second event"), event("", "message", " third event")}, ""},
		{"empty data", "data\n\ndata\ndata\n\ndata:", []sse.Event{event("", "message", ""), event("", "message", "\n")}, ""},
		{"space", "data:test\n\ndata: test\n\n", []sse.Event{event("", "message", "test"), event("", "message", "test")}, ""},
		{"names", "event: add\ndata: 1\n\ndata: 2\n\nevent: x\n\ndata: 3\n\n",
			[]sse.Event{event("", "add", "1"), event("", "message", "2"), event("", "message", "3")}, ""},
		{"line ends", "data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\r", []sse.Event{event("", "message", "a\nb\nc"), event("", "message", "d")}, ""},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", []sse.Event{event("", "message", "a")}, ""},
		{"NUL in an id", "id: a\n\nid: b\x00\ndata: 1\n\n", []sse.Event{event("a", "message", "1")}, "a"},
		{"id without data", "id: 5\n\n", nil, "5"},
		{"id of an event cut off", "id: 5\ndata: 1\n", nil, ""},
		{"unknown fields", "datax: 1\nDATA: 2\n: 3\n data: 4\nfoo\ndata: 5\n\n", []sse.Event{event("", "message", "5")}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(test.stream), iotest.OneByteReader(strings.NewReader(test.stream))} {
				r := sse.NewReader(in)
				got, err := readAll(r)
				if !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, test.want) || r.LastID() != test.lastID {
					t.Errorf("got %q, last id %q, %v; want %q, %q", got, r.LastID(), err, test.want, test.lastID)
				}
			}
		})
	}
}

func TestReaderRetry(t *testing.T) {
	r := sse.NewReader(strings.NewReader("retry: 10\ndata: a\n\ndata: b\n\nretry: 1x\nretry:-1\nretry: 99999999999999999999\ndata: c\n\n"))
	got, _ := readAll(r)
	if len(got) != 3 || got[0].Retry != 10*time.Millisecond || got[1].Retry != 0 || got[2].Retry != 0 || r.Retry() != 10*time.Millisecond {
		t.Errorf("got %+v, retry %v", got, r.Retry())
	}
}

// TestReaderAtOnce: a CR ends a line, and a stream that goes on later gives the event now.
func TestReaderAtOnce(t *testing.T) {
	in, out := io.Pipe()
	go func() { _, _ = out.Write([]byte("data: a\r\n\r")) }() // ends when it is read
	r := sse.NewReader(in)
	if e, err := r.Next(); err != nil || string(e.Data) != "a" {
		t.Errorf("got %q, %v", e.Data, err)
	}
	go func() {
		_, _ = out.Write([]byte("\ndata: b\r\n\r\n"))
		_ = out.Close()
	}()
	if e, err := r.Next(); err != nil || string(e.Data) != "b" {
		t.Errorf("got %q, %v", e.Data, err)
	}
}

func TestReaderMax(t *testing.T) {
	for _, stream := range []string{"data: 12345\n\n", "data:1\ndata:2\n\n", ": comment\n", "data: 1234567890"} {
		r := sse.NewReader(strings.NewReader("data: 1\n\n" + stream + "\n\n"))
		r.Max = 8
		got, err := readAll(r)
		if len(got) != 1 || !errors.Is(err, sse.ErrTooBig) {
			t.Errorf("%q: %d events, %v", stream, len(got), err)
		}
		if _, again := r.Next(); !errors.Is(again, err) {
			t.Errorf("%q: then %v", stream, again)
		}
	}
}

// normal is data as it arrives.
func normal(data []byte) []byte {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
}

// FuzzEvent: what is appended arrives, as one event, whatever is in it, and nothing else does.
func FuzzEvent(f *testing.F) {
	f.Add("", "", []byte("hello"), int64(0))
	f.Add("e-1", "tick", []byte("a\r\nb\rc\n\nd"), int64(1500))
	f.Add("a\nid: 2", "b\r\rdata: x", []byte("\n\ndata: injected\n\n"), int64(-5))
	f.Add("\x00", "", []byte(nil), int64(1))
	f.Fuzz(func(t *testing.T, id, name string, data []byte, ms int64) {
		e := sse.Event{ID: id, Name: name, Data: data, Retry: time.Duration(ms%1e9) * time.Millisecond}
		wire := sse.AppendEvent(nil, e)
		if n := sse.Size(wire); n != len(wire) && len(wire) > 1 {
			t.Fatalf("%q: size %d", wire, n)
		}
		r := sse.NewReader(bytes.NewReader(append(bytes.Clone(wire), "data: end\n\n"...)))
		r.Max = len(wire) + 100
		got, err := readAll(r)
		if !errors.Is(err, io.EOF) {
			t.Fatalf("%q: %v", wire, err)
		}
		want := 1
		if data != nil {
			want = 2
			if len(got) == 2 && !bytes.Equal(got[0].Data, normal(data)) {
				t.Fatalf("%q: data %q", wire, got[0].Data)
			}
		}
		if len(got) != want || string(got[want-1].Data) != "end" || got[want-1].Name != "message" {
			t.Fatalf("%q: %q", wire, got)
		}
		if e.Check() == nil && (r.LastID() != id || data != nil && name != "" && got[0].Name != name || r.Retry() != e.Retry) {
			t.Fatalf("%q: id %q, %+v, retry %v", wire, r.LastID(), got[0], r.Retry())
		}
	})
}

// FuzzReader: whatever a stream holds, it is read to its end, and what comes out, appended
// again, gives the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte("data: a\rdata: b\r\n\nid: 1\nretry: 5\nevent: x\ndata\n\n"))
	f.Add([]byte("\xef\xbb\xbfdata: a\n\nid: \x00\n\n:\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		events, err := readAll(sse.NewReader(bytes.NewReader(stream)))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		again, _ := readAll(sse.NewReader(iotest.OneByteReader(bytes.NewReader(stream))))
		if !reflect.DeepEqual(again, events) {
			t.Fatalf("got %q, and byte by byte %q", events, again)
		}
		var wire []byte
		for i := range events {
			if err := events[i].Check(); errors.Is(err, sse.ErrName) && strings.Contains(events[i].Name, "\x00") {
				return // it may be read, and not sent
			} else if err != nil {
				t.Fatalf("%+v: %v", events[i], err)
			}
			wire = sse.AppendEvent(wire, events[i])
		}
		back, _ := readAll(sse.NewReader(bytes.NewReader(wire)))
		if len(back) != len(events) {
			t.Fatalf("%q gave %d events, want %d", wire, len(back), len(events))
		}
		for i := range back {
			if !bytes.Equal(back[i].Data, events[i].Data) || back[i].Name != events[i].Name {
				t.Fatalf("got %q, want %q", back[i], events[i])
			}
		}
	})
}

// BenchmarkAppendEvent has a line, many lines, and nothing but CR.
func BenchmarkAppendEvent(b *testing.B) {
	for _, bench := range []struct{ name, data string }{
		{"line", strings.Repeat("x", 1000)}, {"lines", strings.Repeat("0123456789\n", 100)}, {"CR", strings.Repeat("\r", 1000)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e, buf := sse.Event{Data: []byte(bench.data)}, make([]byte, 0, 10_000)
			b.SetBytes(int64(len(bench.data)))
			b.ReportAllocs()
			for b.Loop() {
				buf = sse.AppendEvent(buf[:0], e)
			}
		})
	}
}

func ExampleReader() {
	stream := sse.AppendEvent(nil, sse.Event{ID: "1", Name: "price", Data: []byte(`{"eur": 12}`)})
	stream = append(stream, sse.Comment...)
	r := sse.NewReader(bytes.NewReader(stream))
	for {
		e, err := r.Next()
		if err != nil {
			break
		}
		fmt.Printf("%s %s %s\n", e.ID, e.Name, e.Data)
	}
	// Output: 1 price {"eur": 12}
}
