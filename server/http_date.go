package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

// dated is the Date of answers, formatted once a second for all servers.
var dated atomic.Pointer[dateOfSecond]

type dateOfSecond struct {
	second int64 // the Unix time
	text   string
}

// httpDate is the value of an answer's Date field (RFC 9110 section 6.6.1).
func httpDate() string {
	now := time.Now()
	second := now.Unix()
	if d := dated.Load(); d != nil && d.second == second {
		return d.text
	}
	d := &dateOfSecond{second, now.UTC().Format(http.TimeFormat)}
	dated.Store(d) // whoever else does so says the same
	return d.text
}

// date is httpDate in a turn, for which it asks the clock only when a tick of the
// loop's is over: that is a fiftieth of an upgrade.
func (w *worker) date(now tick) string {
	if now != w.datedAt || w.dated == "" {
		w.datedAt, w.dated = now, httpDate()
	}
	return w.dated
}

// emptyLine may stand before a request (RFC 9112 section 2.2).
var emptyLine = []byte("\r\n")
