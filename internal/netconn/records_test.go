package netconn_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/netconn"
	"github.com/millrace/millrace/internal/tlsrecord"
)

// wire is a net.Conn that gives pieces, one a Read, and keeps what is written.
type wire struct {
	net.Conn
	pieces  [][]byte
	end     error // behind them
	written []byte
	broken  error // of a Write
}

func (w *wire) Read(p []byte) (n int, err error) {
	if len(w.pieces) == 0 {
		return 0, w.end
	}
	n = copy(p, w.pieces[0])
	if w.pieces[0] = w.pieces[0][n:]; len(w.pieces[0]) == 0 {
		w.pieces = w.pieces[1:]
	}
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	if w.broken != nil {
		return 0, w.broken
	}
	w.written = append(w.written, p...)
	return len(p), nil
}

// record is one with a payload of so many bytes.
func record(size int) []byte {
	return append([]byte{23, 3, 3, byte(size >> 8), byte(size)}, bytes.Repeat([]byte{byte(size)}, size)...)
}

func received(b []byte) *buffer.Buffer {
	if len(b) == 0 {
		return nil
	}
	buf := buffer.Get(len(b))
	buf.B = append(buf.B, b...)
	return buf
}

// TestRecordsAreWhole: however the bytes come, no Read gives bytes of two records, or of
// one that is not there to its end.
func TestRecordsAreWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var all []byte
		ends := map[int]int{0: 0} // where a record begins: its end
		for range 1 + random.IntN(6) {
			b := record([]int{0, 1, 100, 5000, 16384}[random.IntN(5)])
			ends[len(all)] = len(all) + len(b)
			all = append(all, b...)
		}
		before := random.IntN(len(all) + 1)
		w := &wire{end: io.EOF}
		for rest := all[before:]; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 1+random.IntN(6000)))
			w.pieces, rest = append(w.pieces, bytes.Clone(rest[:n])), rest[n:]
		}
		r := netconn.NewRecords(w, true, received(all[:before]), nil)
		p := make([]byte, 1+random.IntN(8000))
		var got []byte
		end := ends[0]
		for len(got) < len(all) {
			n, err := r.Read(p)
			if err != nil || n == 0 {
				t.Fatalf("round %d: Read: %d, %v, after %d bytes of %d", round, n, err, len(got), len(all))
			}
			if got = append(got, p[:n]...); len(got) > end {
				t.Fatalf("round %d: a Read goes from %d to %d, beyond a record's end at %d", round, len(got)-n, len(got), end)
			}
			if left := len(all[len(got):end]); left > 0 && len(r.Rest()) < left {
				t.Fatalf("round %d: %d bytes given of a record of which %d are not there", round, n, left-len(r.Rest()))
			}
			if len(got) == end && end < len(all) {
				end = ends[end]
			}
		}
		if _, err := r.Read(p); !bytes.Equal(got, all) || err != io.EOF {
			t.Fatalf("round %d: %d bytes, then %v; want %d and io.EOF", round, len(got), err, len(all))
		}
	}
}

// TestRecordsInPart: what a peer has sent of a record is given only when no more can come;
// an error leaves it.
func TestRecordsInPart(t *testing.T) {
	half := record(100)[:50]
	broken := errors.New("broken")
	w := &wire{pieces: [][]byte{half}, end: broken}
	r := netconn.NewRecords(w, true, nil, nil)
	p := make([]byte, 1000)
	if n, err := r.Read(p); n != 0 || err != broken || !bytes.Equal(r.Rest(), half) {
		t.Errorf("Read: %d, %v, and %d bytes are left; want the error and %d", n, err, len(r.Rest()), len(half))
	}
	w.end = io.EOF
	if n, err := r.Read(p); !bytes.Equal(p[:n], half) || err != nil {
		t.Errorf("Read at the end: %d, %v; want %d bytes", n, err, len(half))
	}
	if n, err := r.Read(p); n != 0 || err != io.EOF {
		t.Errorf("Read behind the end: %d, %v", n, err)
	}
}

// TestRecordsOfNoTLS: of what is no record crypto/tls gets enough to say so.
func TestRecordsOfNoTLS(t *testing.T) {
	r := netconn.NewRecords(&wire{pieces: [][]byte{[]byte("GET / HTTP/1.1\r\n")}}, true, nil, nil)
	p := make([]byte, 1000)
	if n, err := r.Read(p); n != tlsrecord.Header || err != nil {
		t.Errorf("Read: %d, %v; want %d bytes", n, err, tlsrecord.Header)
	}
}

// TestRecordsNotWhole: what was received comes first, and then what comes.
func TestRecordsNotWhole(t *testing.T) {
	broken := errors.New("broken")
	w := &wire{end: broken}
	r := netconn.NewRecords(w, false, received([]byte("begun ")), nil)
	if got, err := io.ReadAll(r); string(got) != "begun " || err != broken {
		t.Errorf("%q, %v: want what was received before", got, err)
	}
	w.pieces, w.end = [][]byte{[]byte("and so on")}, io.EOF
	if got, err := io.ReadAll(r); string(got) != "and so on" || err != nil {
		t.Errorf("%q, %v: want what comes", got, err)
	}
}

// TestRecordsUnsent: what is still to be written goes first, whoever comes first, once.
func TestRecordsUnsent(t *testing.T) {
	for name, use := range map[string]func(*netconn.Records) error{
		"Write": func(r *netconn.Records) error { return nil },
		"Read": func(r *netconn.Records) error {
			_, err := r.Read(make([]byte, 100))
			return err
		},
	} {
		w := &wire{pieces: [][]byte{record(10)}}
		r := netconn.NewRecords(w, true, nil, []byte("first "))
		if err := use(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 {
			if n, err := r.Write([]byte("x")); n != 1 || err != nil {
				t.Errorf("%s: Write: %d, %v", name, n, err)
			}
		}
		if string(w.written) != "first xx" {
			t.Errorf("%s: %q is written", name, w.written)
		}
	}
	broken := errors.New("broken")
	r := netconn.NewRecords(&wire{broken: broken}, true, nil, []byte("first"))
	if _, err := r.Read(make([]byte, 100)); err != broken {
		t.Errorf("Read where it can not be written: %v, want that error", err)
	}
}
