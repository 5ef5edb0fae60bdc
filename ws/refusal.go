package ws

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Refusal is an HTTP answer in place of an upgrade, and an error. Those this
// package returns are shared by all: read them, never change them.
type Refusal struct {
	Status int         // 200 to 599; anything else is sent as 500
	Reason string      // for people, and the log: the body, plain text, unless there is a Body; empty means the status text
	Body   string      // instead of Reason; Header has its Content-Type
	Header http.Header // further header fields; may be nil
}

// Error implements error.
func (e *Refusal) Error() string {
	return "ws: refused with " + strconv.Itoa(e.Status) + ": " + e.Reason
}

// Syntax, RFC 9112.
var (
	refuseMethod      = badRequest("malformed method")
	refuseMethodLong  = &Refusal{Status: http.StatusNotImplemented, Reason: "method too long"}
	refuseTarget      = badRequest("malformed request target")
	refuseTargetLong  = &Refusal{Status: http.StatusRequestURITooLong, Reason: "request target too long"}
	refuseVersionForm = badRequest("malformed HTTP version")
	refuseVersion     = &Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	refuseLineEnd     = badRequest("lines must end with CRLF")
	refuseFolded      = badRequest("folded header line")
	refuseFieldName   = badRequest("malformed header field name")
	refuseFieldValue  = badRequest("forbidden byte in a header field value")
	refuseHeadEnd     = badRequest("not one whole request head")
	refuseHeadLong    = &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "request head too long"}
	refuseHeadLines   = &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "too many header lines"}
	refuseHost        = badRequest("need exactly one well-formed Host")
	refuseLength      = badRequest("malformed or conflicting Content-Length")
	refuseTransfer    = badRequest("malformed or conflicting Transfer-Encoding")
)

// The opening handshake, RFC 6455 section 4.2.1.
var (
	refuseUpgradeMethod = &Refusal{
		Status: http.StatusMethodNotAllowed,
		Reason: "a WebSocket is opened with GET",
		Header: http.Header{"Allow": {"GET"}},
	}
	refuseUpgradeBody    = badRequest("a WebSocket upgrade has no body")
	refuseNoUpgrade      = badRequest("need Upgrade: websocket")
	refuseNoConnection   = badRequest("need Connection: Upgrade")
	refuseVersionAbsent  = badRequest("need exactly one Sec-WebSocket-Version")
	refuseVersionUnknown = upgradeRequired("this server speaks version 13 of the WebSocket protocol")
	refuseHostEmpty      = badRequest("a WebSocket upgrade needs a Host that is not empty")
	refuseKey            = badRequest("need exactly one Sec-WebSocket-Key of 16 bytes in base64")
	refuseOriginTwice    = badRequest("more than one Origin")
	refuseSubprotocol    = badRequest("malformed Sec-WebSocket-Protocol")
	refuseExtensions     = badRequest("malformed Sec-WebSocket-Extensions")
	refuseMethodUnknown  = &Refusal{Status: http.StatusNotImplemented, Reason: "unknown method"}
	refusePlainHTTP      = upgradeRequired("this is a WebSocket, connect with the WebSocket protocol")
)

// UpgradeRequired is the answer to a plain HTTP request on a WebSocket's path:
// 426 with the protocol to upgrade to (RFC 9110 section 15.5.22).
func UpgradeRequired() *Refusal { return refusePlainHTTP }

// RefusePlain is the answer to r, a plain HTTP request on a WebSocket's path:
// UpgradeRequired, or 501 for a method that HTTP does not know (RFC 9110 section
// 9.1).
func (r *Request) RefusePlain() *Refusal {
	switch string(r.method) {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return refusePlainHTTP
	}
	return refuseMethodUnknown
}

func badRequest(reason string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Reason: reason}
}

func upgradeRequired(reason string) *Refusal {
	return &Refusal{Status: http.StatusUpgradeRequired, Reason: reason}
}

// AppendRefusal is AppendRefusalTo without a Date, for a method that is not HEAD.
func AppendRefusal(dst []byte, ref *Refusal) []byte { return AppendRefusalTo(dst, "", "", ref) }

// AppendRefusalTo appends ref as a whole HTTP/1.1 response to a request with this
// method ("" if it is not known), after which the connection is to be closed. To
// HEAD it has no body (RFC 9110 section 9.3.2). date is its Date field's value, ""
// sends none. A body ends with a line end. A field of ref.Header that would break the response (a name that is
// no token, a forbidden byte in a value) or that says how it is framed is left out;
// a Content-Type or Date replaces the default. A 426 always carries Upgrade and
// Sec-WebSocket-Version.
func AppendRefusalTo(dst []byte, method, date string, ref *Refusal) []byte {
	status, body := ref.Status, cmp.Or(ref.Body, ref.Reason)
	if status < 200 || status > 599 {
		status = http.StatusInternalServerError
	}
	if body == "" {
		body = http.StatusText(status)
	}
	end := "\n" // as http.Error has it
	if strings.HasSuffix(body, end) {
		end = ""
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body, end = "", "" // RFC 9110 section 6.4.1
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, "\r\n"...)
	dst = appendDate(dst, date, ref.Header)
	dst = appendRefusalFields(dst, ref.Header)
	if status == http.StatusUpgradeRequired {
		// RFC 9110 section 7.8: who sends Upgrade names it in Connection.
		dst = append(dst, "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
	} else {
		dst = append(dst, "Connection: close\r\n"...)
	}
	if status != http.StatusNoContent {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)+len(end)), 10)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	if method == http.MethodHead {
		return dst
	}
	return append(append(dst, body...), end...)
}

// appendDate appends the Date field, unless header has one or there is none.
func appendDate(dst []byte, date string, header http.Header) []byte {
	if date == "" {
		return dst
	}
	for name := range header {
		if equalFold(name, dateField) {
			return dst
		}
	}
	return appendField(dst, dateField, date)
}

func appendRefusalFields(dst []byte, header http.Header) []byte {
	typed := false
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if ownName(name) {
			continue
		}
		for _, value := range header[name] {
			if !fieldAllowed(name, value) {
				continue
			}
			typed = typed || equalFold(name, "Content-Type")
			dst = appendField(dst, name, value)
		}
	}
	if !typed {
		dst = appendField(dst, "Content-Type", "text/plain; charset=utf-8")
	}
	if len(header["X-Content-Type-Options"]) == 0 {
		dst = appendField(dst, "X-Content-Type-Options", "nosniff")
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// fieldAllowed reports whether name and value make one header line.
func fieldAllowed(name, value string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		if !tokenByte.has(name[i]) {
			return false
		}
	}
	for i := range len(value) {
		if !valueByte.has(value[i]) {
			return false
		}
	}
	return true
}

// ownName reports whether a field is set by this package alone: it belongs to
// the handshake or says how the message is framed.
func ownName(name string) bool {
	const handshake = "Sec-WebSocket-"
	if len(name) >= len(handshake) && equalFold(name[:len(handshake)], handshake) {
		return true
	}
	for _, own := range [...]string{"Connection", "Upgrade", "Content-Length", "Transfer-Encoding"} {
		if equalFold(name, own) {
			return true
		}
	}
	return false
}
