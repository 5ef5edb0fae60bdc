package gateway

import (
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/ws"
)

// HTTP answers the gateway's plain requests, which are those to /topics, /history, /presence and /stats, and
// leaves others to next; nil answers them with 404. It is for server.Server.HTTP: the server checks hosts and origins as of
// upgrades.
func (g *Gateway) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		area, rest, ours := areaOf(r.URL.EscapedPath())
		switch {
		case ours:
			g.serve(w, r, area, rest)
		case next != nil:
			next.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// methods of the areas.
var methods = map[string][]string{
	topicsArea:   {"GET", "POST"},
	historyArea:  {"GET", "DELETE"},
	presenceArea: {"GET"},
	statsArea:    {"GET"},
}

// ask is a plain request.
type ask struct {
	*target // nil until it is parsed
	w       http.ResponseWriter
	r       *http.Request
	plan    *ws.Request // as an upgrade would be
	who     *identity   // nil until it is known
	held    int64       // of the account of answers, until the answer is written
}

// serve answers a request of the gateway's.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, area, rest string) {
	plan, err := g.srv.Admit(r)
	a := &ask{w: w, r: r, plan: plan}
	if err != nil {
		refusal := &ws.Refusal{Status: http.StatusBadRequest, Reason: "malformed request"}
		errors.As(err, &refusal)
		word := map[int]Word{http.StatusForbidden: Forbidden}[refusal.Status]
		if word == "" {
			word = BadRequest
		}
		e := g.refuse(&Error{word, refusal.Reason})
		if plan == nil {
			a.plan = &ws.Request{}
			a.plan.RemoteAddr, _ = netip.ParseAddrPort(r.RemoteAddr) // there is none on a Unix socket
		}
		g.writeRefused(a, refusal.Status, e, g.foreign(refusal.Status, plan)...)
		return
	}
	for name, values := range g.corsHeader(plan) {
		w.Header()[name] = values
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		g.preflight(w, area)
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case !slices.Contains(methods[area], method):
		w.Header().Set("Allow", strings.Join(methods[area], ", "))
		g.writeRefused(a, http.StatusMethodNotAllowed, g.refuse(&Error{BadRequest, "the methods here are " + strings.Join(methods[area], ", ")}))
		return
	case area == topicsArea && method == http.MethodGet:
		if r.ProtoMajor == 1 { // HTTP/2 has no such field (RFC 9113 section 8.2.2)
			w.Header().Set("Upgrade", "websocket")
		}
		g.writeRefused(a, http.StatusUpgradeRequired, g.refuse(&Error{BadRequest, "open a WebSocket here, or an event stream with Accept: text/event-stream; what is kept is at /history"}))
		return
	}
	answer, err := g.answer(a, method, area, rest)
	defer func() { g.answers.give(a.held) }()
	switch {
	case err != nil:
		e := g.refuse(err)
		g.writeRefused(a, e.status(), e)
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		g.write(w, http.StatusOK, jsonHeader(), marshal(answer)) // escaped it would be larger than was counted
	}
}

// jsonHeader are the fields of every answer that has a body.
func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
}

// writeRefused answers a request that is refused, and logs it, with more attributes.
func (g *Gateway) writeRefused(a *ask, status int, e *Error, more ...any) {
	g.srv.LogRefused(a.plan, slices.Concat([]any{"status", status, "reason", e.Error()}, a.who.attrs(), more)...)
	g.write(a.w, status, e.header(), e.body())
}

// writeTime is how long an answer may take: who reads slowly does not keep others out.
const writeTime = 30 * time.Second

func (g *Gateway) write(w http.ResponseWriter, status int, header http.Header, body []byte) {
	size := int64(len(body))
	if !g.answers.take(size) {
		e := g.refuse(errNoMemory)
		size, status, header, body = 0, e.status(), e.header(), e.body()
	}
	defer g.answers.give(size)
	maps.Copy(w.Header(), header)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // a ResponseWriter that can not has its own
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer is gone if it fails
	_, _ = io.WriteString(w, "\n")
}

// preflight answers a browser that asks whether a page may ask (CORS).
func (g *Gateway) preflight(w http.ResponseWriter, area string) {
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		w.Header().Set("Access-Control-Allow-Methods", strings.Join(methods[area], ", "))
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, "+keyField+", "+expiresField+", "+notKeptField)
		w.Header().Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// answer gives what a request asks for; nil is nothing.
func (g *Gateway) answer(a *ask, method, area, rest string) (answer any, err error) {
	if a.target, err = parseTarget(rest, a.r.URL.RawQuery); err == nil {
		err = g.checkLocal(a.plan)
	}
	if err != nil {
		return nil, err
	}
	var cookie bool
	if a.token, cookie, err = g.tokenOf(a.plan, a.token); err == nil {
		err = checkCookie(a.plan, cookie, method == http.MethodGet)
	}
	if err != nil {
		return nil, err
	}
	if a.who, err = g.identify(a.r.Context(), a.token); err != nil {
		return nil, err
	}
	name, err := a.one()
	if err != nil {
		return nil, err
	}
	switch {
	case area == topicsArea:
		return g.publish(a, name)
	case area == presenceArea:
		return g.presence(a, name)
	case area == statsArea:
		return g.stats(a, name)
	case method == http.MethodDelete:
		if err := a.who.need((*Rights).mayPurge, "purge", name); err != nil {
			return nil, err
		}
		if err := g.takePost(a); err != nil {
			return nil, err
		}
		if err := g.hub.Purge(name); err != nil {
			return nil, err
		}
		g.logDone(a, "purge", name)
		return nil, nil
	}
	return g.history(a, name)
}

// # Publishing

// Fields of a request that publishes.
const (
	keyField     = "Millrace-Key"
	expiresField = "Millrace-Expires"
	notKeptField = "Millrace-Not-Kept"
)

// published answers a publication.
type published struct {
	Position string `json:"position"`
	Members  int    `json:"members"`
}

func (g *Gateway) publish(a *ask, name string) (any, error) {
	if err := a.who.mayNotPublish(name); err != nil {
		return nil, err
	}
	o, err := publishOptions(a.r.Header)
	if err != nil {
		return nil, err
	}
	if err := g.takePost(a); err != nil {
		return nil, err
	}
	began := time.Now()
	body, held, err := g.readBody(a)
	defer g.bodies.give(held)
	if err != nil {
		return nil, err
	}
	if time.Since(began) > slowBody {
		if a.who, err = g.identify(a.r.Context(), a.token); err != nil {
			return nil, err
		}
		if err := a.who.mayNotPublish(name); err != nil {
			return nil, err
		}
	}
	m := pubsub.Message{Topic: name, Payload: body}
	if m.Opcode, err = opcodeOf(a.r.Header.Get("Content-Type"), body); err != nil {
		return nil, err
	}
	p, err := g.hub.Publish(a.r.Context(), m, o)
	if err != nil {
		return nil, err
	}
	g.logDone(a, "publish", name)
	return published{p.Position.String(), p.Members}, nil
}

// slowBody is the time behind which a body has come so late that the rights of the request are looked at again.
const slowBody = time.Second

// takePost counts a request that changes something.
func (g *Gateway) takePost(a *ask) error {
	if !g.posts.take(posterOf(a)) {
		return &Error{TooFast, "a user, or an address without one, may publish or purge " + g.posts.bound}
	}
	return nil
}

// publishOptions reads the header.
func publishOptions(h http.Header) (o pubsub.PublishOptions, err error) {
	o.Key = h.Get(keyField)
	if text := h.Get(expiresField); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			seconds = -1
		}
		if o.Expires, err = parseExpires(seconds); err != nil {
			return o, &Error{BadRequest, expiresField + " is a number of seconds from 0.001 to 86400"}
		}
	}
	switch text := h.Get(notKeptField); text {
	case "", "0", "false":
	case "1", "true":
		o.NotKept = true
	default:
		return o, &Error{BadRequest, notKeptField + " is 1 or 0"}
	}
	return o, nil
}

// opcodeOf says whether a body is a text.
func opcodeOf(contentType string, body []byte) (ws.Opcode, error) {
	isText := utf8.Valid(body)
	if contentType == "" {
		if isText {
			return ws.Text, nil
		}
		return ws.Binary, nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return 0, &Error{BadRequest, "Content-Type is malformed"}
	case kind == "application/json" || strings.HasPrefix(kind, "text/") || kind == "application/x-www-form-urlencoded": // curl -d says the last
		if set := params["charset"]; set != "" && !strings.EqualFold(set, "utf-8") {
			return 0, &Error{BadRequest, "a text is UTF-8"}
		}
		if !isText {
			return 0, &Error{BadRequest, "the body is no UTF-8: send it as application/octet-stream"}
		}
		return ws.Text, nil
	}
	return ws.Binary, nil
}
