package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// httpHook gives an Upgrade hook, whose request net/http has, the context that one on
// the server's own port has: it ends with the hook, and before that when the peer is
// gone, the time for the handshake is over, or the server stops.
type httpHook struct {
	srv *Server
	r   *http.Request

	once sync.Once
	ctx  context.Context // made when it is asked for
	stop context.CancelCauseFunc
	late *time.Timer
}

// Context implements what ws.Request.Ctx wants.
func (h *httpHook) Context() context.Context {
	h.once.Do(func() {
		h.ctx, h.stop = context.WithCancelCause(h.r.Context())
		h.late = time.AfterFunc(h.srv.limits.handshake.Time(), func() { h.stop(errTooLate) })
		go func() { // ends with the hook
			select {
			case <-h.srv.halt:
				h.stop(errStopped)
			case <-h.srv.group.Done():
				h.stop(errStopped)
			case <-h.ctx.Done():
			}
		}()
	})
	if h.ctx == nil {
		return h.r.Context() // the hook has returned, and kept its request
	}
	return h.ctx
}

// end is for a hook that has returned err; it returns the answer.
func (h *httpHook) end(err error) error {
	h.once.Do(func() {}) // it is too late to ask
	if h.ctx == nil {
		return err
	}
	cause := context.Cause(h.ctx)
	h.late.Stop()
	h.stop(context.Canceled)
	return h.srv.hookAnswer(err, cause)
}
