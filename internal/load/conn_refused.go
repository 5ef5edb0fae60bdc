package load

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/ws"
)

// # Refusals
//
// What a server says when it does not upgrade, or gives no event stream, is worth more than its status: one
// connection waits for the beginning of the answer's body, and a note tells it, with
// what to try next. All others end at once.

const (
	maxBody      = 512                    // bytes that are waited for
	toldBody     = 200                    // and told
	bodyPatience = 200 * time.Millisecond // for them
)

// refused ends a connection that was refused what it asked for, the first one once the answer's
// body is there.
func (l *loop) refused(c *conn, answer []byte, size int, err error) {
	h := c.handshake
	if h.refusal == nil && l.refusalTold.Swap(true) {
		l.lose(c, "%s: %s", c.asked(), brief(err))
		return
	}
	if h.refusal == nil {
		h.refusal, c.until = err, min(c.until, l.now+bodyPatience)
	}
	h.answer, h.body = answer[:size], answer[size:]
	if length, err := strconv.Atoi(field(h.answer, "Content-Length")); len(h.body) >= maxBody || err == nil && len(h.body) >= length {
		l.lose(c, "") // which tells
	}
}

// tellRefusal notes what the server said, and gives the line for the trouble.
func (l *loop) tellRefusal(c *conn) (what string) {
	h, said := c.handshake, "the server's answer to the upgrade"
	if c.stream != nil {
		said = "the server's answer to the GET of an event stream"
	}
	status := 0
	if refused, ok := errors.AsType[*ws.RefusedError](h.refusal); ok {
		status = refused.Status
	}
	if body := excerpt(h); body != "" {
		said += fmt.Sprintf(" was %s: %q", strings.TrimPrefix(brief(h.refusal), "refused with "), body)
	} else {
		said += fmt.Sprintf(" was %s, without a body", strings.TrimPrefix(brief(h.refusal), "refused with "))
	}
	l.meter.note(said + "; " + l.tryAfter(status, c))
	return c.asked() + ": " + brief(h.refusal)
}

// markup is what of a page of HTML is not to be read.
var markup = regexp.MustCompile(`(?is)<(?:style.*?</style|script.*?</script|head.*?</head|[!/a-z][^<>]*)>`)

// excerpt is the beginning of an answer's body in one line.
func excerpt(h *handshake) string {
	body := h.body
	if strings.EqualFold(field(h.answer, "Transfer-Encoding"), "chunked") {
		_, body, _ = bytes.Cut(body, []byte("\r\n")) // the first chunk's size
	}
	text := strings.ToValidUTF8(string(body[:min(len(body), maxBody)]), "?")
	if words := markup.ReplaceAllString(text, " "); strings.TrimSpace(words) != "" {
		text = words
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > toldBody {
		text = strings.ToValidUTF8(text[:toldBody], "") + "..."
	}
	return text
}

// tryAfter is what to try after a refusal.
func (l *loop) tryAfter(status int, c *conn) string {
	h, path := c.handshake, l.target.request.Target
	if location := field(h.answer, "Location"); status/100 == 3 && location != "" {
		return fmt.Sprintf("it redirects to %q: try that", location)
	}
	if body := strings.ToUpper(string(h.body)); l.target.tls == nil && (strings.Contains(body, "HTTPS") || strings.Contains(body, "TLS")) {
		return "the port seems to speak TLS: try wss:// in the URL"
	}
	switch status {
	case 401, 403:
		return "try --header with what lets you in, or --origin"
	case 404, 410:
		return "try another path than " + path
	case 429, 503:
		return "the server refuses so many: try fewer --connections, or a --connect-rate"
	case 502, 504:
		return "a proxy is before the server and does not reach it"
	}
	if c.stream != nil {
		return fmt.Sprintf("are there event streams at %s? try another path, or leave out --event-streams", path)
	}
	return fmt.Sprintf("is a WebSocket served at %s? try another path", path)
}

// field is the value of a head's header line; "" if it has none.
func field(head []byte, name string) string {
	for line := range bytes.Lines(head) {
		before, value, found := bytes.Cut(line, []byte(":"))
		if found && strings.EqualFold(string(before), name) {
			return textproto.TrimString(string(value))
		}
	}
	return ""
}

// notHTTP notes what came instead of an answer.
func (l *loop) notHTTP(answer []byte) {
	const alert, handshake = 21, 22 // types of TLS records
	begins := fmt.Sprintf("the answer begins with %q, which is not HTTP", answer[:min(len(answer), 40)])
	switch {
	case l.refusalTold.Swap(true):
	case len(answer) > 1 && (answer[0] == alert || answer[0] == handshake) && answer[1] == 3:
		l.meter.note(begins + " but TLS: try wss:// in the URL")
	default:
		l.meter.note(begins + ": is this the right port?")
	}
}

// tryAfterNothing notes what to try after an end, or a wait, without any answer to the
// request, or to the TLS handshake where there is one.
func (l *loop) tryAfterNothing(c *conn) {
	switch {
	case l.meter.opened > 0:
	case c.state == securing:
		l.meter.note("the server does not answer in TLS: if the port does not speak it, try ws:// in the URL")
	case l.target.tls == nil && len(c.handshake.head) == 0:
		l.meter.note("the server does not answer: if the port speaks TLS, try wss:// in the URL")
	}
}

// tryAfterTLS notes what to try after a handshake that failed.
func (l *loop) tryAfterTLS(c *conn, err error) {
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		l.tryAfterNothing(c)
	case errors.As(err, &record):
		l.meter.note("the port does not speak TLS: try ws:// in the URL")
	case errors.As(err, &authority), errors.As(err, &name):
		l.meter.note("to trust this certificate, try --ca with the file of its authority, or --insecure")
	}
}

// tryAfterConnect notes what to try after a connection that could not be made.
func (l *loop) tryAfterConnect(err error) {
	if errors.Is(err, syscall.ECONNREFUSED) && l.meter.opened == 0 {
		l.meter.note(fmt.Sprintf("nobody listens on %v: is the server running, and is this its port?", l.target.address))
	}
}

// tryAfterStranger notes what to try after a message that nobody here has sent, or not
// to this connection.
func (l *loop) tryAfterStranger() {
	switch {
	case l.plan.Scenario == result.Broadcast:
		l.meter.note("broadcast needs a server that sends on what is published, as it is, and nothing else")
	default:
		l.meter.note(l.plan.Scenario + " needs a server that sends each message back to its sender, as it is, and nothing else; for one that sends it to all there is broadcast, and for one that sends by itself receive")
	}
}
