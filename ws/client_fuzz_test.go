package ws_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// FuzzServerHeader holds two things: a header means the same in whatever pieces
// it arrives, and gobwas reads the same in it.
func FuzzServerHeader(f *testing.F) {
	for _, c := range serverHeaders {
		f.Add([]byte(c.wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		wire = wire[:min(len(wire), 32)]
		compareServerHeader(t, wire)
		want, size, wrong := ws.ParseServerHeader(wire)
		done := false
		for n := range len(wire) + 1 {
			h, got, err := ws.ParseServerHeader(wire[:n:n])
			if !done && got == 0 && err == nil {
				continue
			}
			done = true
			if h != want || got != size || err != wrong || got > n {
				t.Fatalf("%x: first %d bytes: %+v of %d bytes, %v; all: %+v of %d bytes, %v", wire, n, h, got, err, want, size, wrong)
			}
		}
		if !done && len(wire) >= ws.MaxHeader {
			t.Fatalf("%x: wants more", wire)
		}
	})
}

// FuzzResponse wants an answer accepted only if it is one to the key and the
// subprotocol in net/textproto's eyes too, and another status told as net/http
// reads it.
func FuzzResponse(f *testing.F) {
	for _, c := range responses {
		f.Add([]byte(c.head), testKey, "chat")
	}
	f.Add([]byte(head("HTTP/1.1 404 Not Found", "Content-Length: 0")), testKey, "")
	f.Add([]byte(interims+accepted()), testKey, "")
	f.Add(ws.AppendRefusal(nil, ws.UpgradeRequired()), "", "a")
	f.Fuzz(func(t *testing.T, answer []byte, key, subprotocol string) {
		kept := bytes.Clone(answer)
		err := ws.CheckResponse(answer, key, subprotocol)
		if !bytes.Equal(kept, answer) {
			t.Fatalf("%q has become %q", kept, answer)
		}
		if size, err := ws.SkipInterim(answer); err == nil && size < len(answer) {
			answer = answer[size:]
		}
		var refused *ws.RefusedError
		switch {
		case err == nil:
			checkAccepted(t, answer, key, subprotocol)
		case errors.As(err, &refused):
			checkRefused(t, answer, refused)
		}
	})
}

func checkAccepted(t *testing.T, answer []byte, key, subprotocol string) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(answer))
	text := textproto.NewReader(in)
	status, err := text.ReadLine()
	if err != nil || !strings.HasPrefix(status, "HTTP/1.1 101 ") {
		t.Fatalf("status line %q is accepted, %v", status, err)
	}
	fields, err := text.ReadMIMEHeader()
	if err != nil || in.Buffered() > 0 {
		t.Fatalf("%q is accepted; net/textproto: %v, %d bytes left", answer, err, in.Buffered())
	}
	h := http.Header(fields)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if got := h.Values("Sec-WebSocket-Accept"); !slices.Equal(got, []string{base64.StdEncoding.EncodeToString(sum[:])}) {
		t.Errorf("accept %q is accepted for the key %q", got, key)
	}
	if got := h.Values("Upgrade"); len(got) != 1 || !strings.EqualFold(got[0], "websocket") {
		t.Errorf("upgrade %q is accepted", got)
	}
	if got := h.Values("Connection"); !strings.Contains(strings.ToLower(strings.Join(got, ",")), "upgrade") {
		t.Errorf("connection %q is accepted", got)
	}
	if got := h.Values("Sec-WebSocket-Extensions"); got != nil {
		t.Errorf("extensions %q are accepted", got)
	}
	if got := h.Values("Sec-WebSocket-Protocol"); got != nil && (subprotocol == "" || !slices.Equal(got, []string{subprotocol})) {
		t.Errorf("subprotocols %q are accepted for %q", got, subprotocol)
	}
}

func checkRefused(t *testing.T, answer []byte, refused *ws.RefusedError) {
	t.Helper()
	if refused.Status == http.StatusSwitchingProtocols || len(refused.Reason) > 100 ||
		strings.ContainsFunc(refused.Reason, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%q: %+v", answer, refused)
	}
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(line)+"\r\n\r\n")), nil)
	if err != nil || resp.StatusCode != refused.Status {
		t.Fatalf("%q: status %d; net/http: %v", line, refused.Status, err)
	}
	resp.Body.Close()
}

// FuzzClientRequest wants every request that Check passes to be one upgrade with
// just the fields it should have.
func FuzzClientRequest(f *testing.F) {
	f.Add("example.com", "/a?b", "http://example.com", "chat", "X: y")
	f.Add("[::1]:80", "/%41", "", "", "Cookie:a=b")
	f.Add("a\r\nX: y", "/ HTTP/1.1\r\nX: y", "\r\n\r\n", "a\r\n", "X: y\r\n\r\nGET / HTTP/1.1")
	f.Fuzz(func(t *testing.T, host, target, origin, subprotocol, line string) {
		c := ws.ClientRequest{Host: host, Target: target, Origin: origin, Subprotocol: subprotocol, Header: []string{line}}
		if c.Check() == nil {
			compareClientRequest(t, &c)
		}
	})
}
