// Package debug shows what a server is at, on a page to be mounted where only the
// operator can reach it:
//
//	admin.Handle("/debug/conns", debug.Conns(srv))
//
// Who the operator is, a middleware of your own around it may find out; the page is
// made for a browser that sends credentials along by itself, as with Basic
// authentication. Against pages of other sites it defends itself.
package debug

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

const (
	// ActionHeader must be set, to any value, on a POST that brings no token of
	// the page: no form of another site can set it.
	ActionHeader = "X-Millrace-Action"

	byDefault   = 50              // connections shown
	walksAtOnce = 4               // more requests wait
	walkTime    = 5 * time.Second // then what is known so far is shown
	maxForm     = 4 << 10

	// What a peer has to send its form, and to take the answer, unless the http.Server
	// has bounds of its own.
	formTime   = 10 * time.Second
	answerTime = 30 * time.Second
)

var orders = []string{"backlog", "age", "bytes", "inbound", "rtt"} // by server.ConnOrder

// Conns answers GET with the connections that come first in an order
// (?by=backlog, age, bytes, inbound or rtt; ?n=50, at most server.MaxListed), as a page or,
// with ?format=json or Accept: application/json, as JSON. POST closes one: id, and
// if wanted code and reason, as form values. It needs the page's token or
// ActionHeader, and is refused from pages of other origins. The Host must be an IP
// address, localhost or one of the names, see CheckHost.
//
// Who reaches it can close connections, so mount it on a private address. A few requests
// look at once, the others wait for their turn, 5 s at most; who does not read the
// answer, of up to 1 MiB, keeps nobody from looking, and is cut off after 30 s.
func Conns(srv *server.Server, names ...string) http.Handler {
	h := &conns{srv: srv, token: rand.Text(), walks: make(chan struct{}, walksAtOnce), origins: http.NewCrossOriginProtection()}
	return CheckHost(h, names...)
}

type conns struct {
	srv     *server.Server
	token   string
	walks   chan struct{} // one for each walk under way
	origins *http.CrossOriginProtection
}

// ServeHTTP implements http.Handler.
func (h *conns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	ctx, cancel := context.WithTimeout(r.Context(), walkTime)
	defer cancel()
	bound(w, r)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.show(ctx, w, r)
	case http.MethodPost:
		h.close(ctx, w, r)
	default:
		header.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "GET shows connections, POST closes one", http.StatusMethodNotAllowed)
	}
}

// report is what is shown.
type report struct {
	By          string `json:"by"`
	Total       int64  `json:"total"`             // connections of the server
	Partial     bool   `json:"partial,omitempty"` // a loop did not answer in time
	Connections []row  `json:"connections"`
}

// row is a connection. Times are in seconds.
type row struct {
	ID          string  `json:"id"`
	Remote      string  `json:"remote"`
	State       string  `json:"state"`
	Blocked     bool    `json:"blocked"` // its handler is slow
	Paused      bool    `json:"paused"`  // it is not read
	Subprotocol string  `json:"subprotocol,omitempty"`
	Transport   string  `json:"transport"`
	Deflate     bool    `json:"deflate"`
	EventStream bool    `json:"event_stream"`
	Age         float64 `json:"age_seconds"`
	Silent      float64 `json:"silent_seconds"`
	RTT         float64 `json:"rtt_seconds"` // 0: unknown
	Backlog     uint64  `json:"backlog_bytes"`
	Inbound     uint64  `json:"inbound_bytes"` // memory of what is received and not handled
	MessagesIn  uint64  `json:"messages_received"`
	MessagesOut uint64  `json:"messages_sent"`
	BytesIn     uint64  `json:"received_bytes"`
	BytesOut    uint64  `json:"sent_bytes"`
}

func (h *conns) show(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	by, n := 0, byDefault
	if text := query.Get("by"); text != "" {
		if by = slices.Index(orders, text); by < 0 {
			http.Error(w, "by: want one of "+strings.Join(orders, ", "), http.StatusBadRequest)
			return
		}
	}
	if text := query.Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > server.MaxListed {
			http.Error(w, "n: want a whole number from 1 to "+strconv.Itoa(server.MaxListed), http.StatusBadRequest)
			return
		}
	}
	rep, ok := h.look(ctx, server.ConnOrder(by), n)
	switch {
	case !ok:
		http.Error(w, "others look already: try again", http.StatusServiceUnavailable)
	case wantsJSON(r):
		writeJSON(w, http.StatusOK, rep)
	default:
		h.writePage(w, pageData{report: rep, N: n, Closed: query.Get("closed"), Token: h.token})
	}
}

// look walks through the connections as soon as there is a place for one more walk; not
// ok: there was none in time. The place is free again before the answer is written, since
// that takes as long as the peer likes.
func (h *conns) look(ctx context.Context, by server.ConnOrder, n int) (rep report, ok bool) {
	select {
	case h.walks <- struct{}{}:
		defer func() { <-h.walks }()
	case <-ctx.Done():
		return rep, false
	}
	infos, err := h.srv.Conns(ctx, by, n)
	return report{By: orders[by], Total: h.srv.Stats().Open, Partial: err != nil, Connections: rows(infos)}, true
}

// bound gives the request deadlines where its http.Server has none. net/http takes them
// off again before the next request.
func bound(w http.ResponseWriter, r *http.Request) {
	var read, write time.Duration
	if web, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		read, write = web.ReadTimeout, web.WriteTimeout
	}
	// A ResponseWriter that can't is a middleware's, or a broken connection's.
	controller, now := http.NewResponseController(w), time.Now()
	if read <= 0 && r.Method == http.MethodPost {
		_ = controller.SetReadDeadline(now.Add(formTime))
	}
	if write <= 0 {
		_ = controller.SetWriteDeadline(now.Add(answerTime))
	}
}

func rows(infos []server.ConnInfo) []row {
	all := make([]row, 0, len(infos))
	for _, c := range infos {
		all = append(all, row{
			ID: c.ID.String(), Remote: c.RemoteName, State: c.State, Blocked: c.Blocked, Paused: c.Paused, Subprotocol: c.Subprotocol,
			Transport: c.Transport, Deflate: c.Deflate, EventStream: c.EventStream,
			Age: c.Age.Seconds(), Silent: c.Silent.Seconds(), RTT: c.RTT.Seconds(), Backlog: uint64(c.Queued), Inbound: uint64(c.Inbound),
			MessagesIn: c.MessagesIn, MessagesOut: c.MessagesOut, BytesIn: c.BytesIn, BytesOut: c.BytesOut,
		})
	}
	return all
}

// close closes the connection that a form names.
func (h *conns) close(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "not a form of at most 4 KiB", http.StatusBadRequest)
		return
	}
	if err := h.origins.Check(r); err != nil || !h.meant(r) {
		http.Error(w, "closing needs the page's token or the header "+ActionHeader, http.StatusForbidden)
		return
	}
	id, code, err := closeForm(r)
	if err == nil {
		err = h.srv.CloseConn(ctx, id, code, r.PostForm.Get("reason"))
	}
	switch {
	case errors.Is(err, server.ErrNoConn):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		http.Error(w, "the connection's loop does not answer: its handlers are slow", http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case wantsJSON(r) || r.Header.Get(ActionHeader) != "":
		writeJSON(w, http.StatusOK, map[string]string{"closed": id.String()})
	default:
		query := r.URL.Query()
		query.Set("closed", id.String())
		w.Header().Set("Location", "?"+query.Encode()) // the page it came from
		w.WriteHeader(http.StatusSeeOther)
	}
}

// meant says whether the request is from who has the page or may set headers, and
// not from a form elsewhere.
func (h *conns) meant(r *http.Request) bool {
	token := r.PostForm.Get("token")
	return r.Header.Get(ActionHeader) != "" || subtle.ConstantTimeCompare([]byte(token), []byte(h.token)) == 1
}

func closeForm(r *http.Request) (id server.ConnID, code ws.Code, err error) {
	if id, err = server.ParseConnID(r.PostForm.Get("id")); err != nil {
		return id, code, err
	}
	code = ws.CodeGoingAway
	if text := r.PostForm.Get("code"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return id, code, errors.New("code: want a close code such as 1001 or 4000")
		}
		code = ws.Code(n)
	}
	return id, code, nil
}

func wantsJSON(r *http.Request) bool {
	return r.URL.Query().Get("format") == "json" || strings.HasPrefix(r.Header.Get("Accept"), "application/json")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var text bytes.Buffer
	_ = json.NewEncoder(&text).Encode(v) // strings and numbers
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // the peer is gone if it fails
}
