package server_test

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/millrace/millrace/sse"
)

// stream opens an event stream, reads some of it or to its end, or nothing, and says what it may not say now and then.
func (p *peer) stream() error {
	if err := p.write(eventRequest("/" + p.tag)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return err
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusBadRequest && p.secure != nil && p.conn == p.raw:
		return errRefused
	case resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != sse.ContentType:
		return p.foreign("status %d, %v", resp.StatusCode, resp.Header)
	}
	if p.random.IntN(10) == 0 {
		p.untilCut() // it reads nothing
		return nil
	}
	if p.random.IntN(4) == 0 {
		_ = p.write(strings.Repeat("x", p.random.IntN(3000))) // it may be over
	}
	return p.readEvents(sse.NewReader(resp.Body), p.random.IntN(60))
}

// readEvents reads so many events, each of which is the peer's own; nothing follows the last.
func (p *peer) readEvents(events *sse.Reader, most int) error {
	for range most {
		e, err := events.Next()
		switch {
		case err != nil:
			return err
		case e.Name == "close":
			if e, err := events.Next(); err == nil {
				return p.foreign("event %q behind the last", e.Data)
			} else if !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}
		parts := strings.SplitN(string(e.Data), "|", 4)
		if len(parts) != 4 || parts[0] != p.tag || strings.ReplaceAll(parts[3], p.tag, "") != "" {
			return p.foreign("event %.200q", e.Data)
		}
	}
	return nil
}
