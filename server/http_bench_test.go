package server_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// BenchmarkKeepAlive asks for a page again and again on one connection. Client and
// server share the processors.
func BenchmarkKeepAlive(b *testing.B) {
	for name, page := range map[string]string{
		"plain":          get("/page"),
		"head of 6 KiB":  "GET /page HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 6<<10) + "\r\n\r\n",
		"body of 64 KiB": "POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("b", 64<<10),
	} {
		for _, secure := range []bool{false, true} {
			title := name
			if secure {
				title += " over TLS"
			}
			b.Run(title, func(b *testing.B) { benchKeepAlive(b, page, secure) })
		}
	}
}

func benchKeepAlive(b *testing.B, page string, secure bool) {
	engine, err := poller.New("")
	if err != nil {
		b.Fatal(err)
	}
	srv := &server.Server{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client sees
		_, _ = io.WriteString(w, "a page")
	})}
	if secure {
		withTLS(nil)(srv)
	}
	srv.Runtime.Engine, srv.Logger = engine, noLog
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = serve(srv, ln) }() // until closeServer
	defer closeServer(b, srv)
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if secure {
		conn = tls.Client(conn, clientTLS())
	}
	in := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(conn, page); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}
