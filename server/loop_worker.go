package server

import (
	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/ws"
)

// worker is a worker of the loops, with the buffers for the turns that it runs: what
// a connection must keep beyond its turn moves to the connection.
type worker struct {
	loop.Worker
	srv     *Server
	in      []byte   // what a read fills
	raw     []byte   // what a read of a TLS connection fills, nil until there is one
	out     outbound // what the turn's connection sends: the cork
	decoder *ws.Decoder
	request ws.Request
	plain   []byte // the 101 response being made
	facts   facts  // of the connection being opened, see Conn.Request
	dated   string // the Date of answers
	datedAt tick   // when that was asked for

	hooked   *Conn       // whose Upgrade hook is under way
	stream   stream      // of its connection, nil: the descriptor
	limits   *connLimits // likewise
	deflate  *deflation  // likewise, nil: no compression
	pacing   pacing      // of its connection
	received turnStats
}

// newWorker makes a worker, which may go on with the turn of another one.
func (s *Server) newWorker(from *loop.Worker) *loop.Worker {
	w := &worker{srv: s, limits: &s.limits.connLimits}
	w.HostData = w
	w.out.corked = true
	w.in = make([]byte, s.limits.readBuffer)
	w.decoder = s.newDecoder()
	if from != nil {
		before := from.HostData.(*worker)
		w.received, w.out.sent, w.limits = before.received, before.out.sent, before.limits
	}
	return &w.Worker
}

// rawRoom is room for received records, for one call.
func (w *worker) rawRoom() []byte {
	if w.raw == nil {
		w.raw = make([]byte, rawRoom)
	}
	return w.raw
}

// noteSlow tells, once a turn, that it has lost its loop, and in which callback of the
// application: the one that has just returned.
func (w *worker) noteSlow(c *Conn, callback string) {
	if !w.HasLoop() {
		w.tellSlow(c, callback)
	}
}

func (w *worker) tellSlow(c *Conn, callback string) {
	if took, first := w.Overdue(); first {
		c.logSlow(callback, took)
	}
}
