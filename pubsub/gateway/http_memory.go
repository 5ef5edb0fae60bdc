package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/pubsub"
)

// # The memory of plain requests
//
// Bodies that are read have one account, and answers that are written another, so that neither keeps the other out.
// A body counts with what of it has come, not with what it says of itself.

const (
	// maxMemory bounds an account; that of bodies has room for two of the largest, so that one can always grow.
	maxMemory = 256 << 20
	maxBody   = 1 << 30 // where pubsub.Limits.Payload is larger, or no bound
	smallBody = 4 << 10 // free
	// A body has bodyTime to come, and longer only as far as it comes at bodyRate.
	bodyTime = 30 * time.Second
	bodyRate = 32 << 10 // bytes a second
)

// account is the memory of some bodies.
type account struct {
	most int64
	used atomic.Int64
}

// take takes room for a body; give gives it back. Small ones are free.
func (a *account) take(size int64) bool {
	if size <= smallBody || a.used.Add(size) <= a.most {
		return true
	}
	a.used.Add(-size)
	return false
}

func (a *account) give(size int64) {
	if size > smallBody {
		a.used.Add(-size)
	}
}

var errNoMemory = &Error{NoRoom, "too many large requests at once: try again"}

// readBody reads what a request publishes. held is to be given back to the account of bodies, with an error too.
func (g *Gateway) readBody(a *ask) (body []byte, held int64, err error) {
	most := min(g.hub.Limits().Payload, maxBody)
	tooBig := fmt.Errorf("%w: at most %d bytes are allowed", pubsub.ErrTooBig, most)
	if a.r.ContentLength > int64(most) {
		return nil, 0, tooBig
	}
	began, deadline := time.Now(), deadlineOf(a)
	deadline(began.Add(bodyTime))
	body = make([]byte, 0, smallBody)
	for {
		n, err := a.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > most:
			return nil, held, tooBig
		case err == io.EOF:
			deadline(time.Time{})
			return body, held, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, held, &Error{BadRequest, "the body has come too slowly"}
		case err != nil:
			return nil, held, &Error{BadRequest, "the body could not be read"}
		case len(body) < cap(body):
			continue
		}
		size := int64(min(2*cap(body), most+1))
		if a.r.ContentLength >= 0 {
			size = min(size, a.r.ContentLength+1) // the end is read too
		}
		if !g.bodies.take(size) {
			return nil, held, errNoMemory
		}
		larger := make([]byte, len(body), size)
		copy(larger, body)
		g.bodies.give(held)
		body, held = larger, size
		deadline(began.Add(bodyTime + time.Duration(len(body)/bodyRate)*time.Second))
	}
}

// deadlineOf sets the time of a body, unless an http.Server has one of its own: that holds then.
func deadlineOf(a *ask) func(time.Time) {
	if srv, ok := a.r.Context().Value(http.ServerContextKey).(*http.Server); ok && srv.ReadTimeout > 0 {
		return func(time.Time) {}
	}
	control := http.NewResponseController(a.w)
	return func(at time.Time) { _ = control.SetReadDeadline(at) } // a ResponseWriter that can not has its own
}
