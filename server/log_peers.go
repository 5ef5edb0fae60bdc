package server

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/shorttext"
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
	if level := s.requestLevel(); s.log().Enabled(context.Background(), level) {
		attrs := []any{"remote", addrName(remote), "status", refusal.Status, "reason", shorten(refusal.Reason)}
		attrs = append(attrs, requestOf(r)...)
		s.tellRefused(level, append(attrs, s.detailsOf(refusal, r)...))
	}
}

// requestLevel is that of records about single requests.
func (s *Server) requestLevel() slog.Level {
	if s.LogRefusals {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (s *Server) tellRefused(level slog.Level, attrs []any) {
	if attrs, ok := s.some(level, attrs); ok {
		s.log().Log(context.Background(), level, "request refused", attrs...)
	}
}

// some says whether a record may be told: at debug level there are only some a second.
func (s *Server) some(level slog.Level, attrs []any) (all []any, ok bool) {
	if level > slog.LevelDebug {
		return attrs, true
	}
	return s.details.with(attrs...)
}

// requestOf are attributes of a request that was read.
func requestOf(r *ws.Request) []any {
	if r == nil || r.Method() == "" {
		return nil
	}
	return []any{"method", shorten(r.Method()), "path", shorten(r.Path())}
}

// LogRefused logs a request that a hook or a handler has refused by itself, as the server logs those that it refuses: at info
// level with LogRefusals, and else at debug level, some a second. The record has the client, attrs, which are as of slog.Logger.Info,
// and the request without its query; texts are cut to 200 bytes. It never blocks, and any goroutine may call it.
func (s *Server) LogRefused(r *ws.Request, attrs ...any) {
	if level, all, ok := s.about(r, attrs); ok {
		s.tellRefused(level, all)
	}
}

// LogServed is as LogRefused, for a request that was served.
func (s *Server) LogServed(r *ws.Request, attrs ...any) {
	level, all, ok := s.about(r, attrs)
	if ok {
		all, ok = s.some(level, all)
	}
	if ok {
		s.log().Log(context.Background(), level, "request served", all...)
	}
}

// about are the attributes of a record about a request, and its level. ok: it is logged at all.
func (s *Server) about(r *ws.Request, attrs []any) (level slog.Level, all []any, ok bool) {
	level = s.requestLevel()
	if !s.log().Enabled(context.Background(), level) {
		return level, nil, false
	}
	all = []any{"remote", addrName(r.RemoteAddr)}
	for _, attr := range attrs {
		if text, ok := attr.(string); ok {
			attr = shorten(text)
		}
		all = append(all, attr)
	}
	return level, append(all, requestOf(r)...), true
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

// shorten cuts what a peer has said.
func shorten(text string) string { return shorttext.Cut(text, maxPeerText) }

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
