package ws_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestClientDeflate(t *testing.T) {
	all := ws.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 12}
	cases := []struct {
		name   string
		offer  ws.DeflateParams
		sent   string
		answer []string
		want   ws.DeflateParams
		ok     bool
	}{
		{"declined", ws.DeflateParams{}, pmd, nil, ws.DeflateParams{}, true},
		{"bare", ws.DeflateParams{}, pmd, []string{pmd}, ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, true},
		{"more than asked", ws.DeflateParams{}, pmd, []string{pmd + "; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=9"},
			ws.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 9, ClientMaxWindowBits: 15}, true},
		{"all", all, pmd + "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=12",
			[]string{pmd + "; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=8"},
			ws.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 9, ClientMaxWindowBits: 8}, true},
		{"client bits not answered", ws.DeflateParams{ClientMaxWindowBits: 12}, pmd + "; client_max_window_bits=12", []string{pmd}, ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 12}, true},

		{"server takeover not granted", all, "", []string{pmd + "; server_max_window_bits=9"}, ws.DeflateParams{}, false},
		{"server bits not granted", all, "", []string{pmd + "; server_no_context_takeover"}, ws.DeflateParams{}, false},
		{"server bits too large", all, "", []string{pmd + "; server_no_context_takeover; server_max_window_bits=11"}, ws.DeflateParams{}, false},
		{"client bits too large", all, "", []string{pmd + "; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=13"}, ws.DeflateParams{}, false},
		{"client bits not offered", ws.DeflateParams{}, "", []string{pmd + "; client_max_window_bits=15"}, ws.DeflateParams{}, false},
		{"client bits bare", ws.DeflateParams{ClientMaxWindowBits: 15}, "", []string{pmd + "; client_max_window_bits"}, ws.DeflateParams{}, false},
		{"another extension", ws.DeflateParams{}, "", []string{"permessage-bzip2"}, ws.DeflateParams{}, false},
		{"two extensions", ws.DeflateParams{}, "", []string{pmd + ", " + pmd}, ws.DeflateParams{}, false},
		{"two lines", ws.DeflateParams{}, "", []string{pmd, pmd}, ws.DeflateParams{}, false},
		{"empty line", ws.DeflateParams{}, "", []string{""}, ws.DeflateParams{}, false},
		{"unknown parameter", ws.DeflateParams{}, "", []string{pmd + "; x"}, ws.DeflateParams{}, false},
		{"malformed", ws.DeflateParams{}, "", []string{pmd + ";"}, ws.DeflateParams{}, false},
		{"7", ws.DeflateParams{}, "", []string{pmd + "; server_max_window_bits=7"}, ws.DeflateParams{}, false},
	}
	for _, c := range cases {
		r := ws.ClientRequest{Host: "example.com", Target: "/", Deflate: &c.offer}
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		head := string(r.Append(nil, testKey))
		if c.sent != "" && !strings.Contains(head, "\r\nSec-WebSocket-Extensions: "+c.sent+"\r\n") {
			t.Errorf("%s: sent %q", c.name, head)
		}
		var lines []string
		for _, answer := range c.answer {
			lines = append(lines, "Sec-WebSocket-Extensions: "+answer)
		}
		got, err := r.CheckResponse([]byte(accepted(lines...)), testKey)
		if (err == nil) != c.ok || got != c.want || got.Agreed() != (c.ok && c.answer != nil) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, bits := range [][2]int{{7, 0}, {16, 0}, {0, 7}, {0, 16}, {-1, 0}} {
		r := ws.ClientRequest{Host: "a", Target: "/", Deflate: &ws.DeflateParams{ServerMaxWindowBits: bits[0], ClientMaxWindowBits: bits[1]}}
		if r.Check() == nil {
			t.Errorf("bits of %v pass", bits)
		}
	}
	r := ws.ClientRequest{Host: "a", Target: "/"}
	if _, err := r.CheckResponse([]byte("HTTP/1.1 404 Not Found\r\n\r\n"), testKey); !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
	if _, err := r.CheckResponse([]byte(accepted("Sec-WebSocket-Extensions: "+pmd)), testKey); err == nil {
		t.Error("an extension that was not offered passes")
	}
}

// TestClientAndServerDeflate has the two ends of this package agree on each
// offer, and then each read what the other sends.
func TestClientAndServerDeflate(t *testing.T) {
	for _, offer := range []ws.DeflateParams{{}, {ServerNoContextTakeover: true}, {ClientNoContextTakeover: true}, {ServerMaxWindowBits: 8, ClientMaxWindowBits: 8}, {ClientMaxWindowBits: 15}} {
		for _, policy := range []ws.DeflatePolicy{{}, {ServerTakeover: true, ClientTakeover: true}, {ClientTakeover: true, ClientMaxWindowBits: 10, ServerMaxWindowBits: 9}} {
			request := ws.ClientRequest{Host: "example.com", Target: "/", Deflate: &offer}
			r := parsed(t, string(request.Append(nil, testKey)))
			ours := r.SelectDeflate(policy)
			response, err := ws.AppendUpgrade(nil, r, &ws.Response{Deflate: ours})
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := request.CheckResponse(response, testKey)
			if err != nil || ours.ServerNoContextTakeover != theirs.ServerNoContextTakeover || ours.ClientNoContextTakeover != theirs.ClientNoContextTakeover ||
				ours.ServerMaxWindowBits != theirs.ServerMaxWindowBits || ours.ClientMaxWindowBits < theirs.ClientMaxWindowBits {
				t.Errorf("%+v, %+v: %+v and %+v, %v", offer, policy, ours, theirs, err)
			}
			clientSends(t, theirs, ours)
			serverSends(t, theirs, ours)
		}
	}
}

func window(none bool, bits int) *ws.Window {
	if none {
		return nil
	}
	return &ws.Window{Bits: bits}
}

func clientSends(t *testing.T, theirs, ours ws.DeflateParams) {
	z, w := ws.Deflater{WindowBits: theirs.ClientMaxWindowBits}, window(theirs.ClientNoContextTakeover, theirs.ClientMaxWindowBits)
	d := ws.Decoder{Deflate: true, Window: window(ours.ClientNoContextTakeover, ours.ClientMaxWindowBits)}
	for i := range 10 {
		content := story(3000, uint64(i/2))
		frame, compressed := z.AppendMaskedFrame(nil, ws.Text, []byte(content), [4]byte{1, 2, 3, byte(i)}, w)
		if compressed && w != nil {
			w.Add([]byte(content))
		}
		if got := decode(t, &d, frame); got.code != 0 || !slices.Equal(got.events, []event{{ws.Text, content}}) {
			t.Errorf("%+v, client's message %d: error %d", ours, i, got.code)
		}
	}
}

func serverSends(t *testing.T, theirs, ours ws.DeflateParams) {
	z, w := ws.Deflater{WindowBits: ours.ServerMaxWindowBits}, window(ours.ServerNoContextTakeover, ours.ServerMaxWindowBits)
	seen := window(theirs.ServerNoContextTakeover, theirs.ServerMaxWindowBits)
	for i := range 10 {
		content := story(3000, uint64(i/2))
		frame, compressed := z.AppendFrame(nil, ws.Text, []byte(content), w)
		if !compressed {
			continue
		}
		if w != nil {
			w.Add([]byte(content))
		}
		got, err := ws.AppendInflated([]byte("before"), []byte(compressedPayload(t, frame, ws.Text)), 3000, seen)
		if err != nil || string(got) != "before"+content {
			t.Errorf("%+v, server's message %d: %d bytes, %v", ours, i, len(got), err)
		}
	}
}

func TestAppendInflatedRefuses(t *testing.T) {
	cases := []struct {
		name, payload string
		limit         int64
		code          ws.Code
	}{
		{"corrupt", "\x06", 100, ws.CodeInvalidPayload},
		{"truncated", "\xf2\x48\xcd\xc9", 100, ws.CodeInvalidPayload},
		{"over the limit", deflated(strings.Repeat("a", 101), 1), 100, ws.CodeTooBig},
		{"far over the limit", deflated(strings.Repeat("a", 1<<20), 1), 100, ws.CodeTooBig},
	}
	for _, c := range cases {
		got, err := ws.AppendInflated([]byte("before"), []byte(c.payload), c.limit, nil)
		failed, ok := errors.AsType[*ws.CloseError](err)
		if !ok || failed.Code != c.code || string(got) != "before" {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	got, err := ws.AppendInflated(nil, []byte(deflated(strings.Repeat("a", 100), 1)), 100, nil)
	if err != nil || len(got) != 100 {
		t.Errorf("exactly the limit: %d bytes, %v", len(got), err)
	}
}

// TestParseDeflateHeader holds it to ParseServerHeader where RSV1 is not set, and
// where it may not be.
func TestParseDeflateHeader(t *testing.T) {
	for first := range 256 {
		in := []byte{byte(first), 3, 'a', 'b', 'c'}
		plain, _, errPlain := ws.ParseServerHeader([]byte{byte(first) &^ 0x40, 3})
		got, n, err := ws.ParseDeflateHeader(in)
		allowed := first&0x40 == 0 || first&0x0f == 1 || first&0x0f == 2
		plain.Compressed = first&0x40 != 0
		if allowed && errPlain == nil {
			if err != nil || n != 2 || got != plain {
				t.Errorf("%#x: %+v, %v", first, got, err)
			}
		} else if err == nil {
			t.Errorf("%#x: %+v", first, got)
		}
	}
	if _, n, err := ws.ParseDeflateHeader(nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
}
