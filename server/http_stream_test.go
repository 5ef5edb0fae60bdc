package server_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// The frames of HTTP/2 here are bytes (RFC 9113 section 6), as no client sends them
// that means well.

const (
	h2Data, h2Headers, h2Reset, h2Settings, h2WindowUpdate = 0x0, 0x1, 0x3, 0x4, 0x8

	h2EndStream, h2EndHeaders, h2Ack = 0x1, 0x4, 0x1
)

// h2Client is a client of HTTP/2 in frames.
type h2Client struct{ *client }

// dialH2 connects, with the streams' initial window.
func dialH2(t testing.TB, addr string, window uint32) h2Client {
	t.Helper()
	config := clientTLS()
	config.NextProtos = []string{"h2"}
	c, _ := secured(t, connect(t, addr), config)
	h := h2Client{c}
	h.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	h.write(h2Settings, 0, 0, string(binary.BigEndian.AppendUint32([]byte{0, 4}, window)))
	h.write(h2WindowUpdate, 0, 0, "\x3f\xff\x00\x00") // the connection's window is no obstacle
	return h
}

func (h h2Client) write(kind, flags byte, stream uint32, payload string) {
	h.t.Helper()
	n := len(payload)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	h.send(string(binary.BigEndian.AppendUint32(head, stream)) + payload)
}

// ask sends a request's head, of fields from HPACK's static table.
func (h h2Client) ask(stream uint32, method, path string, flags byte) {
	h.t.Helper()
	fields := map[string]string{"GET": "\x82", "POST": "\x83"}[method] + "\x87\x01\x0bexample.com\x04" + string(byte(len(path))) + path
	h.write(h2Headers, h2EndHeaders|flags, stream, fields)
}

func (h h2Client) allow(stream, bytes uint32) {
	h.t.Helper()
	h.write(h2WindowUpdate, 0, stream, string(binary.BigEndian.AppendUint32(nil, bytes)))
}

// read reads the next frame that is not about the connection.
func (h h2Client) read() (kind, flags byte, stream uint32, payload string) {
	h.t.Helper()
	for {
		head := make([]byte, 9)
		h.full(head)
		payload = h.payload(uint64(head[0])<<16 | uint64(head[1])<<8 | uint64(head[2]))
		kind, flags, stream = head[3], head[4], binary.BigEndian.Uint32(head[5:])
		switch {
		case kind == h2Settings && flags&h2Ack == 0:
			h.write(h2Settings, h2Ack, 0, "")
		case stream != 0:
			return kind, flags, stream, payload
		}
	}
}

// startH2 serves pages over HTTP/2: "/large" is 64 KiB in one Write, "/body" tells of
// its body.
func startH2(t *testing.T, configure func(*server.Server)) (addr string, srv *server.Server) {
	t.Helper()
	return startTLS(t, func(s *server.Server) {
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/large":
				_, _ = io.WriteString(w, strings.Repeat("large", 64<<10/5)) // the client sees
			case "/own":
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, strings.Repeat("large", 64<<10/5)) // as said
			default:
				answerPlain(w, r)
			}
		})
		configure(s)
	})
}

// TestStalledStreams: streams whose peer allows them nothing are reset, whatever they
// have to say, and the connection's others go on.
func TestStalledStreams(t *testing.T) {
	t.Parallel()
	addr, srv := startH2(t, func(s *server.Server) { s.Timeouts.Write = 500 * time.Millisecond })
	h := dialH2(t, addr, 0)
	const streams = 100
	for i := range uint32(streams) {
		h.ask(2*i+1, "GET", []string{"/large", "/small"}[i%2], h2EndStream)
	}
	reset := map[uint32]bool{}
	for len(reset) < streams {
		if kind, _, stream, _ := h.read(); kind == h2Reset {
			reset[stream] = true
		} else if kind != h2Headers {
			t.Fatalf("frame of type %d", kind)
		}
	}
	if got := srv.Stats().Limits[server.LimitWriteTimeout]; got != streams/2 {
		t.Errorf("the limit was met %d times, want %d: by each that has more than a buffer to say", got, streams/2)
	}
	h.ask(2*streams+1, "GET", "/again", h2EndStream)
	h.allow(2*streams+1, 1<<16)
	for {
		if kind, _, _, payload := h.read(); kind == h2Data {
			if payload != "GET /again " {
				t.Errorf("%q", payload)
			}
			break
		}
	}
}

// TestSlowStream: a stream that is allowed little at a time gets all of its answer.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	addr, srv := startH2(t, func(s *server.Server) { s.Timeouts.Write = 3 * time.Second })
	h := dialH2(t, addr, 0)
	h.ask(1, "GET", "/large", h2EndStream)
	const step = 8 << 10
	for got := 0; ; {
		kind, flags, _, payload := h.read()
		switch kind {
		case h2Data:
			got += len(payload)
		case h2Reset:
			t.Fatalf("reset after %d bytes", got)
		}
		if flags&h2EndStream != 0 {
			break
		}
		if got%step == 0 {
			time.Sleep(500 * time.Millisecond)
			h.allow(1, step)
		}
	}
	hits(t, srv, server.LimitWriteTimeout, 0)
}

// TestStreamsOwnDeadline: a handler's own write deadline holds if it is earlier.
func TestStreamsOwnDeadline(t *testing.T) {
	t.Parallel()
	addr, srv := startH2(t, func(*server.Server) {})
	h := dialH2(t, addr, 0)
	h.ask(1, "GET", "/own", h2EndStream)
	for kind := byte(h2Headers); kind != h2Reset; {
		kind, _, _, _ = h.read()
	}
	hits(t, srv, server.LimitWriteTimeout, 0)
}

// TestStreamsWithoutBody: a stream's body that does not come fails, one that comes
// slowly does not.
func TestStreamsWithoutBody(t *testing.T) {
	t.Parallel()
	addr, srv := startH2(t, func(s *server.Server) { s.Timeouts.Body = 2 * time.Second })
	h := dialH2(t, addr, 1<<16)
	answer := func(stream uint32) string {
		for {
			if kind, _, of, payload := h.read(); kind == h2Data && of == stream {
				return payload
			}
		}
	}
	h.ask(1, "POST", "/none", 0)
	if got := answer(1); !strings.Contains(got, "timeout") {
		t.Errorf("without a body: %q", got)
	}
	hits(t, srv, server.LimitBodyTimeout, 1)
	h.ask(3, "POST", "/slow", 0)
	for range 5 {
		time.Sleep(500 * time.Millisecond)
		h.write(h2Data, 0, 3, strings.Repeat("b", 4<<10))
	}
	h.write(h2Data, h2EndStream, 3, "")
	if got := answer(3); !strings.HasPrefix(got, "POST /slow bbb") {
		t.Errorf("with a slow body: %q", got)
	}
	hits(t, srv, server.LimitBodyTimeout, 1)
}

// TestMaxHTTPStreams: so many requests are under way over HTTP/2, on all connections
// together.
func TestMaxHTTPStreams(t *testing.T) {
	t.Parallel()
	addr, srv := startH2(t, func(s *server.Server) { s.Limits.HTTPStreams = 2 })
	a, b := dialH2(t, addr, 1<<16), dialH2(t, addr, 1<<16)
	status := func(h h2Client, stream uint32) (first byte) {
		for {
			if kind, _, of, payload := h.read(); kind == h2Headers && of == stream {
				return payload[0]
			}
		}
	}
	const ok = 0x88 // ":status: 200" in HPACK's static table
	a.ask(1, "POST", "/1", 0)
	b.ask(1, "POST", "/2", 0)
	eventually(t, "one over the bound", func() bool {
		h := dialH2(t, addr, 1<<16)
		h.ask(1, "GET", "/3", h2EndStream)
		return status(h, 1) != ok
	})
	if s := srv.Stats(); s.Refusals[503] == 0 || s.Limits[server.LimitHTTPStreams] == 0 {
		t.Errorf("refusals %v, limits %v", s.Refusals, s.Limits)
	}
	for _, h := range []h2Client{a, b} {
		h.write(h2Data, h2EndStream, 1, "body")
		if got := status(h, 1); got != ok {
			t.Errorf("status %#x", got)
		}
	}
	eventually(t, "a place is free", func() bool {
		h := dialH2(t, addr, 1<<16)
		h.ask(1, "GET", "/4", h2EndStream)
		return status(h, 1) == ok
	})
}

// TestForwardedStreams: a plain request over HTTP/2 with two stories of who the client
// is gets 400, as one over HTTP/1 does.
func TestForwardedStreams(t *testing.T) {
	t.Parallel()
	addr, _ := startH2(t, func(s *server.Server) { s.Proxy.Trusted = everybody })
	web := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true}
	t.Cleanup(web.CloseIdleConnections)
	for _, test := range []struct {
		forwarded string
		status    int
	}{{"for=192.0.2.1", http.StatusOK}, {"for=192.0.2.2", http.StatusBadRequest}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		r.Header.Set("Forwarded", test.forwarded)
		resp, err := web.RoundTrip(r)
		if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != test.status {
			t.Fatalf("%q: %v, %v, want %d over HTTP/2", test.forwarded, resp, err, test.status)
		}
		_ = resp.Body.Close() // only the status counts
	}
}
