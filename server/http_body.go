package server

import (
	"io"
	"net/http"
	"strings"
)

// # Behind a body
//
// net/http goes on with a connection though its handler has closed the body, or reading
// it has failed, and takes what follows for the next request: the rest of the body, which
// it has in its own buffer or asks for. So a connection goes on only if the body's end
// was seen; otherwise the answer is its last.

// pageBody is the body of a request over HTTP/1, whose end is noted.
type pageBody struct {
	io.ReadCloser
	over, closed bool
}

// Read implements io.Reader.
func (b *pageBody) Read(p []byte) (n int, err error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err = b.ReadCloser.Read(p)
	b.over = b.over || err == io.EOF
	return n, err
}

// Close implements io.Closer. net/http closes the body itself, having read the rest.
func (b *pageBody) Close() error {
	b.closed = true
	return nil
}

// restOfBody is how much is read of a body behind its handler, as net/http does.
const restOfBody = 256 << 10

type httpConnKey struct{}

// servePage serves a request over HTTP/1.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	own := r.Body
	if own == nil || own == http.NoBody {
		s.HTTP.ServeHTTP(w, r)
		return
	}
	body := &pageBody{ReadCloser: own}
	r.Body = body
	s.HTTP.ServeHTTP(w, r)
	r.Body = own
	c, ok := r.Context().Value(httpConnKey{}).(*httpConn)
	if !ok || c.free.Load() {
		return // hijacked: the body is somebody else's
	}
	if !body.over && r.ContentLength <= restOfBody && !strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		_, err := io.CopyN(io.Discard, own, restOfBody+1)
		body.over = err == io.EOF
	}
	if !body.over {
		w.Header().Set("Connection", "close")
		c.last = true
	}
}
