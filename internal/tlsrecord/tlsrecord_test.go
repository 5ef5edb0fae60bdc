package tlsrecord_test

import (
	"bytes"
	"testing"

	"github.com/millrace/millrace/internal/tlsrecord"
)

func TestSize(t *testing.T) {
	for record, want := range map[string]int{
		"": 0, "\x16\x03\x01\x00": 0, "\x16\x03\x01\x00\x05": 10, "\x17\x03\x03\x48\x00": 5 + 16<<10 + 2048,
		"\x17\x03\x03\x48\x01": 5, "GET / HTTP/1.1": 5,
	} {
		if got := tlsrecord.Size([]byte(record)); got != want {
			t.Errorf("%q: %d, want %d", record, got, want)
		}
	}
}

func TestWhole(t *testing.T) {
	const a, b = "\x16\x03\x01\x00\x01x", "\x17\x03\x03\x00\x02yz"
	for end := range len(a + b + "\x17") {
		want := 0
		if end >= len(a) {
			want = len(a)
		}
		if end >= len(a+b) {
			want = len(a + b)
		}
		if got := tlsrecord.Whole([]byte((a + b + "\x17")[:end])); got != want {
			t.Errorf("of %d bytes %d are whole records, want %d", end, got, want)
		}
	}
}

// TestSplitHello: the records carry the message and nothing else, none of them is large,
// and there is room for their headers.
func TestSplitHello(t *testing.T) {
	for size := 1; size <= 32<<10; size += 1 + size/7 {
		message := bytes.Repeat([]byte{7, 1, 3}, size/3+1)[:size]
		records := tlsrecord.SplitHello([]byte("before"), message)
		records, ok := bytes.CutPrefix(records, []byte("before"))
		if !ok || tlsrecord.Whole(records) != len(records) || len(records) > size+tlsrecord.SplitRoom {
			t.Fatalf("%d bytes become %d", size, len(records))
		}
		var carried []byte
		for len(records) > 0 {
			n := tlsrecord.Size(records)
			if records[0] != tlsrecord.Handshake || n > 1<<10 {
				t.Fatalf("%d bytes: a record of type %d and %d bytes", size, records[0], n)
			}
			carried = append(carried, records[tlsrecord.Header:n]...)
			records = records[n:]
		}
		if !bytes.Equal(carried, message) {
			t.Fatalf("%d bytes: they carry something else", size)
		}
	}
}
