package server

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/ws"
)

// # Single peers in the log
//
// The log tells of single peers at debug level only: who was refused or cut off,
// and why. Any peer can cause such lines, so there are few a second, and what a peer
// has said is cut in them. With LogRefusals each refusal is told, and the queue
// before the handler is the only bound.

const (
	detailsPerSecond = 100
	// maxPeerText is how much of what a peer has said, in bytes, goes into the log.
	maxPeerText = 200
)

// details bounds the records about single peers.
type details struct {
	leftOutInAll atomic.Uint64

	mu      sync.Mutex // no other lock is taken under it
	second  int64      // the Unix time
	told    int        // in this second
	leftOut uint64     // since the last one that was told
}

// with says whether one more record may be told, and adds to its attributes how
// many were left out before it.
func (d *details) with(attrs ...any) (all []any, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now().Unix(); now != d.second {
		d.second, d.told = now, 0
	}
	if d.told == detailsPerSecond {
		d.leftOut++
		d.leftOutInAll.Add(1)
		return nil, false
	}
	d.told++
	if d.leftOut > 0 {
		attrs = append(attrs, "left_out", d.leftOut)
		d.leftOut = 0
	}
	return attrs, true
}

// logRefusal tells of a request that is refused. r is nil where it is not known, and
// empty if it was none.
func (s *Server) logRefusal(refusal *ws.Refusal, remote netip.AddrPort, r *ws.Request) {
	level := slog.LevelDebug
	if s.LogRefusals {
		level = slog.LevelInfo
	}
	log, ctx := s.log(), context.Background()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := []any{"remote", addrName(remote), "status", refusal.Status, "reason", shorten(refusal.Reason)}
	if r != nil && r.Method() != "" {
		attrs = append(attrs, "method", shorten(r.Method()), "path", shorten(r.Path()))
	}
	attrs = append(attrs, s.detailsOf(refusal, r)...)
	ok := true
	if !s.LogRefusals {
		attrs, ok = s.details.with(attrs...)
	}
	if ok {
		log.Log(ctx, level, "request refused", attrs...)
	}
}

// detailsOf is what r was refused for, and what would let it through.
func (s *Server) detailsOf(refusal *ws.Refusal, r *ws.Request) (attrs []any) {
	switch refusal {
	case refuseHost:
		attrs = []any{"host", shorten(r.PublicHost())}
	case refuseOrigin:
		attrs = []any{"origin", shorten(r.Header("Origin")), "host", shorten(r.PublicHost())}
	}
	if remedy := s.remedyFor(refusal, r); remedy != "" {
		attrs = append(attrs, "remedy", remedy)
	}
	return attrs
}

// logFailure tells of an open connection that was ended for what its peer did, or
// for a failure of ours.
func (c *Conn) logFailure(cause error) {
	s := c.loop.srv
	log := s.log()
	var end *ws.CloseError
	switch {
	case !log.Enabled(context.Background(), slog.LevelDebug):
		return
	case !errors.As(cause, &end) || end.Remote:
		return
	case end.Code < ws.CodeProtocolError || end.Code > ws.CodeInternal || !end.Code.Sendable():
		return // no failure, a broken connection, or the application's own code
	}
	attrs, ok := s.details.with("remote", c.RemoteName(), "code", int(end.Code), "reason", shorten(end.Reason))
	if ok {
		log.Debug("connection failed", attrs...)
	}
}

// logSlow tells of a turn from which another worker has taken the loop, and which
// callback has returned since.
func (c *Conn) logSlow(callback string, took time.Duration) {
	s := c.loop.srv
	log := s.log()
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs, ok := s.details.with("remote", c.RemoteName(), "callback", callback, "took", took.Round(time.Millisecond))
	if ok {
		log.Debug("turn was slow", attrs...)
	}
}

// shorten cuts what a peer has said, between two runes.
func shorten(text string) string {
	if len(text) <= maxPeerText {
		return text
	}
	end := maxPeerText
	for end > maxPeerText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// logNetHTTP tells what net/http says of one of its connections.
func (s *Server) logNetHTTP(text string) {
	log := s.log()
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	if attrs, ok := s.details.with("err", shorten(text)); ok {
		log.Debug("plain HTTP failed", attrs...)
	}
}
