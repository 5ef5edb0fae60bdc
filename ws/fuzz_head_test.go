package ws_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// FuzzHead holds two things: a head means the same in whatever pieces it
// arrives, and net/http reads what Parse accepts in the same way.
func FuzzHead(f *testing.F) {
	for _, c := range realHeads {
		f.Add([]byte(c.head), uint8(7))
	}
	for _, c := range wrongHeads {
		f.Add([]byte(c.bytes), uint8(2))
	}
	f.Add([]byte("\r\nGET http://[::1]:80/a?b HTTP/1.0\r\n\r\nmore"), uint8(3))
	f.Add([]byte("CONNECT a:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), uint8(4))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		lim := ws.HeadLimits{Bytes: 512, Lines: 10}
		var s ws.HeadScanner
		end, err := s.Scan(data, lim)
		for _, n := range []int{1, int(size)%32 + 1} {
			if e, again := scanSplit(data, n, lim); e != end || again != err {
				t.Fatalf("pieces of %d bytes: %d, %v; in one piece: %d, %v", n, e, again, end, err)
			}
		}
		if end == 0 {
			return
		}
		var r ws.Request
		if err := r.Parse(data[:end]); err != nil {
			return
		}
		compareWithNetHTTP(t, &r, data[:end])
		compareAnswer(t, &r)
	})
}

// FuzzRequest compares with net/http as FuzzHead does, but with heads whose
// lines are whole, to get further into what they say.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "example.com", "Content-Length", "0", "Upgrade", "websocket")
	f.Add("POST", "http://h:80/%41", "[::1]:80", "Transfer-Encoding", "chunked", "X", "\xe9")
	f.Add("CONNECT", "a:443", "127.0.0.1", "Cookie", "a=b; c", "Cookie", "d")
	f.Add("GET", "/J\xc3\xbcrgen?\xff", "a!b", "Host", "", "X", "y")
	f.Add("GET", "http://a%c3%bc/", "a%C3%BC", "A", "", "X", "y")
	f.Add("OPTIONS", "*", "h", "Sec-WebSocket-Protocol", "a,,b", "Sec-WebSocket-Version", "13")
	f.Fuzz(func(t *testing.T, method, target, host, name1, value1, name2, value2 string) {
		h := []byte(head(method+" "+target+" HTTP/1.1", "Host: "+host, name1+": "+value1, name2+":"+value2,
			"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: "+testKey, "Sec-WebSocket-Version: 13"))
		var r ws.Request
		if err := r.Parse(h); err != nil {
			return
		}
		compareWithNetHTTP(t, &r, h)
		compareAnswer(t, &r)
		if c := r.Clone(); c.Target() != r.Target() || !slices.Equal(c.Values(name1), r.Values(name1)) {
			t.Errorf("the clone of %q differs", h)
		}
	})
}

// compareWithNetHTTP checks that net/http understands a head that Parse has
// accepted, and as Parse does. It is the other way round that they differ:
// net/http also takes bare LF, folded lines, an odd or missing Host, an empty
// Content-Length, equal ones twice, one beside chunked, a fragment, and more. Parse
// takes an empty line first, codings other than chunked, and escapes in the host of
// a target, which net/http does not, or decodes.
func compareWithNetHTTP(t *testing.T, r *ws.Request, head []byte) {
	if c := r.Header("Transfer-Encoding"); c != "" && !strings.EqualFold(c, "chunked") || r.Header("Trailer") != "" {
		return
	}
	if strings.Contains(r.Host(), "%") && !strings.HasPrefix(r.Target(), "/") {
		return
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(head, []byte("\r\n")))))
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	if r.Method() != req.Method || r.Target() != req.RequestURI || r.Host() != req.Host || r.RawQuery() != req.URL.RawQuery {
		t.Errorf("%q: %s %s at %q, net/http has %s %s at %q", head, r.Method(), r.Target(), r.Host(), req.Method, req.RequestURI, req.Host)
	}
	if path, err := url.PathUnescape(r.Path()); err != nil || path != req.URL.Path && req.URL.Path != "" {
		t.Errorf("%q: path %q, net/http has %q", head, r.Path(), req.URL.Path)
	}
	if r.HasBody() != (req.ContentLength != 0) {
		t.Errorf("%q: body %v, net/http has a length of %d", head, r.HasBody(), req.ContentLength)
	}
	for name := range r.Headers() {
		key := textproto.CanonicalMIMEHeaderKey(name)
		if key == "Host" || key == "Transfer-Encoding" {
			continue // net/http moves them elsewhere
		}
		if !slices.Equal(r.Values(name), req.Header[key]) {
			t.Errorf("%q: %s is %q, net/http has %q", head, name, r.Values(name), req.Header[key])
		}
	}
}

// compareAnswer checks that each request gets one whole response that net/http
// understands.
func compareAnswer(t *testing.T, r *ws.Request) {
	want, answer := http.StatusSwitchingProtocols, []byte(nil)
	if err := r.CheckUpgrade(); err != nil {
		want = status(err)
		answer = ws.AppendRefusal(nil, err.(*ws.Refusal))
	} else if answer, err = ws.AppendUpgrade(nil, r, nil); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("answer %q: %v, want status %d", answer, err, want)
	}
	resp.Body.Close()
}

// sameOriginByURL is SameOrigin by other means: net/url's.
func sameOriginByURL(value, host string, tls bool) bool {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != map[bool]string{false: "http", true: "https"}[tls] {
		return false
	}
	if scheme, _, _ := strings.Cut(value, ":"); !strings.EqualFold(value, scheme+"://"+u.Host) {
		return false // more than a scheme and an authority
	}
	h := url.URL{Scheme: u.Scheme, Host: host}
	return comparableHost(u) != "" && comparableHost(u) == comparableHost(&h)
}

// comparableHost is host and port of u in one spelling, "" if they are wrong.
func comparableHost(u *url.URL) string {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:") != "" || name == "" {
		return ""
	}
	if strings.Contains(u.Host, "[") {
		addr, err := netip.ParseAddr(name)
		if err != nil || addr.Is4() {
			return ""
		}
		name = "[" + addr.String() + "]"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if port != "" && err != nil {
		return ""
	}
	if n == 0 {
		n = map[string]uint64{"http": 80, "https": 443}[u.Scheme]
	}
	return name + ":" + strconv.FormatUint(n, 10)
}
