package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// TestNothingBehindWrappedBody: nor where the handler bounds and closes its body, as
// usual, without full duplex.
func TestNothingBehindWrappedBody(t *testing.T) {
	t.Parallel()
	smuggled := "GET /smuggled HTTP/1.1\nHost: a\n\n"
	extension := ";" + strings.Repeat("a", 1000)
	for name, deadline := range map[string]bool{"chunks": false, "deadline": true} {
		t.Run(name, func(t *testing.T) {
			onOwnPort(t, func(t *testing.T, start starter) {
				connect, _ := start(t, func(s *server.Server) {
					s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/smuggled" {
							t.Errorf("a body was taken for a request")
							return
						}
						r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
						defer r.Body.Close()
						if deadline {
							_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(20 * time.Millisecond))
						}
						_, err := io.Copy(io.Discard, r.Body)
						_, _ = fmt.Fprint(w, err)
					})
				})
				c := connect()
				if deadline {
					c.send(strings.Replace(post("/", smuggled), smuggled, "", 1))
					c.response()
					c.send(smuggled)
				} else {
					_, _ = io.WriteString(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+
						strings.Repeat(fmt.Sprintf("%x%s\r\n%s\r\n", len(smuggled), extension, smuggled), 40)+"0\r\n\r\n")
					_, _ = c.Conn.Read(make([]byte, 1)) // an answer, or a reset, which the write may meet already
				}
				time.Sleep(50 * time.Millisecond)
			})
		})
	}
}
