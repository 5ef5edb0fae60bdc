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

// TestNothingBehindRefusedChunks: what net/http refuses of a chunked body, the server
// refuses as well: else the rest of the body is taken for a request.
func TestNothingBehindRefusedChunks(t *testing.T) {
	t.Parallel()
	onOwnPort(t, func(t *testing.T, start starter) {
		connect, _ := start(t, func(s *server.Server) {
			s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/smuggled" {
					t.Errorf("a body was taken for a request")
					return
				}
				_ = http.NewResponseController(w).EnableFullDuplex()
				_, err := io.Copy(io.Discard, r.Body)
				_, _ = fmt.Fprint(w, err)
			})
		})
		c := connect()
		smuggled := "GET /smuggled HTTP/1.1\nHost: a\n\n"
		extension := ";" + strings.Repeat("a", 1000)
		_ = c.SetDeadline(time.Now().Add(patience)) // closed: the read tells
		_, _ = io.WriteString(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+
			strings.Repeat(fmt.Sprintf("%x%s\r\n%s\r\n", len(smuggled), extension, smuggled), 40)+"0\r\n\r\n") // the server may have refused it halfway
		_, _ = c.Conn.Read(make([]byte, 1)) // an answer, or a reset
		time.Sleep(50 * time.Millisecond)
	})
}
