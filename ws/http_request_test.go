package ws_test

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// TestHTTPRequest compares with what net/http itself makes of the same bytes.
func TestHTTPRequest(t *testing.T) {
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"GET /rooms/a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: example.com:8080\r\nCookie: a=b\r\ncookie: c=d\r\nX-EMPTY:\r\n\r\n",
		"GET http://other.example/p?q HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"GET /J\xc3\xbcrgen HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
	} {
		var r ws.Request
		if err := r.Parse([]byte(head)); err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		got := r.HTTP(t.Context())
		if got.Context() != t.Context() {
			t.Errorf("%q: another context", head)
		}
		want = want.WithContext(t.Context())
		want.Close, got.Close = false, false // what net/http does then is our server's to do
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n%+v, want\n%+v", head, got, want)
		}
	}
}

// TestHTTPRequestBeyond: what is not in the head comes along, and the copy stays when
// the request is another.
func TestHTTPRequestBeyond(t *testing.T) {
	head := []byte("GET /rooms/%7e HTTP/1.1\r\nHost: example.com\r\nA: b\r\n\r\n")
	var r ws.Request
	if err := r.Parse(head); err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr, r.TLSState, r.ExtendedConnect = netip.MustParseAddrPort("192.0.2.1:7"), &tls.ConnectionState{Version: 7}, true
	r.SetPathValue("room", "~")
	h := r.HTTP(t.Context())
	clear(head)
	r.Reset()
	if h.RemoteAddr != "192.0.2.1:7" || h.TLS == nil || h.TLS.Version != 7 || h.PathValue("room") != "~" {
		t.Errorf("%+v", h)
	}
	if h.Method != http.MethodConnect || h.ProtoMajor != 2 || h.URL.Path != "/rooms/~" || h.Header.Get("a") != "b" {
		t.Errorf("%+v, URL %+v", h, h.URL)
	}
}

// TestMessageClone: a clone stays as it is.
func TestMessageClone(t *testing.T) {
	m := ws.Message{Opcode: ws.Text, Compressed: 3, Payload: []byte("abc")}
	c := m.Clone()
	clear(m.Payload)
	if c.Opcode != ws.Text || c.Compressed != 3 || string(c.Payload) != "abc" {
		t.Errorf("%+v", c)
	}
}
