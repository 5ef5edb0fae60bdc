package ws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxReasonPhrase = 100 // bytes kept of a refusal's reason phrase

// ClientRequest is the request of a client that opens a WebSocket. It is only
// read by its methods, which any goroutine may call at once.
type ClientRequest struct {
	Host   string // with ":port" unless it is the scheme's own
	Target string // path and query, from the first slash on
	Origin string // "" sends none
	// Subprotocol is the one that is asked for; "" asks for none.
	Subprotocol string
	// Deflate offers permessage-deflate with these parameters; nil does not. What
	// the server makes of it, the method CheckResponse tells.
	Deflate *DeflateParams
	// Header is what else is sent: lines "Name: value" without a line end. Host,
	// Origin, what belongs to the handshake and what announces a body may not be
	// among them.
	Header []string
}

// Check reports what cannot be sent: anything that would not be read as what it
// is, such as a line end in a value. What Check has passed, Append may write,
// and CheckUpgrade accepts.
func (r *ClientRequest) Check() error {
	if _, _, ok := splitAuthority([]byte(r.Host)); !ok {
		return fmt.Errorf("ws: malformed host %q", r.Host)
	}
	if !originForm([]byte(r.Target)) {
		return fmt.Errorf("ws: malformed target %q: need a path from its slash on, escaped", r.Target)
	}
	if !fieldAllowed("Origin", r.Origin) {
		return fmt.Errorf("ws: malformed origin %q", r.Origin)
	}
	if r.Deflate != nil && !r.Deflate.offerable() {
		return fmt.Errorf("ws: deflate window bits %d and %d: need 8 to 15, or 0 for none", r.Deflate.ServerMaxWindowBits, r.Deflate.ClientMaxWindowBits)
	}
	if r.Subprotocol != "" && !isToken([]byte(r.Subprotocol)) {
		return fmt.Errorf("ws: malformed subprotocol %q: need one token", r.Subprotocol)
	}
	for _, line := range r.Header {
		name, value, found := strings.Cut(line, ":")
		switch {
		case !found || !fieldAllowed(name, value):
			return fmt.Errorf(`ws: malformed header line %q: need "Name: value"`, line)
		case ownName(name) || equalFold(name, "Host") || equalFold(name, "Origin"):
			return fmt.Errorf("ws: header line %q: the handshake has its own %s", line, name)
		}
	}
	return nil
}

// originForm reports whether p is a path with an optional query (RFC 9112
// section 3.2.1), in ASCII.
func originForm(p []byte) bool {
	path, _, _ := bytes.Cut(p, []byte("?"))
	ascii := !slices.ContainsFunc(p, func(b byte) bool { return b >= utf8.RuneSelf })
	return ascii && bytes.HasPrefix(p, slash) && targetByte.run(p) == len(p) && escapesValid(path)
}

// Append appends the whole request head with key, which NewClientKey made for
// this one connection. It allocates only if dst has too little room.
func (r *ClientRequest) Append(dst []byte, key string) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendField(dst, "Host", r.Host)
	dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\n"...)
	dst = appendField(dst, keyField, key)
	dst = append(dst, versionField+": 13\r\n"...)
	if r.Origin != "" {
		dst = appendField(dst, "Origin", r.Origin)
	}
	if r.Subprotocol != "" {
		dst = appendField(dst, subprotocolField, r.Subprotocol)
	}
	if r.Deflate != nil {
		dst = r.Deflate.appendOffer(dst)
	}
	for _, line := range r.Header {
		dst = append(dst, line...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// NewClientKey makes a Sec-WebSocket-Key of 16 random bytes.
func NewClientKey(random [16]byte) string {
	var key [keyLength]byte
	base64.StdEncoding.Encode(key[:], random[:])
	return string(key[:])
}

// RefusedError says that the server answered an upgrade with another status
// than 101.
type RefusedError struct {
	Status int
	// Reason is the status line's, up to 100 bytes; what is not printable ASCII
	// has become '?'. Often it is empty.
	Reason string
}

// Error gives the status and the reason.
func (e *RefusedError) Error() string {
	text := "ws: upgrade refused with " + strconv.Itoa(e.Status)
	if e.Reason != "" {
		text += " " + e.Reason
	}
	return text
}

var (
	errStatusLine       = errors.New("ws: malformed status line")
	errResponseSyntax   = errors.New("ws: malformed response head")
	errResponseUpgrade  = errors.New("ws: 101 without exactly one Upgrade: websocket")
	errResponseConnect  = errors.New("ws: 101 without Connection: Upgrade")
	errResponseAccept   = errors.New("ws: 101 without exactly one right Sec-WebSocket-Accept")
	errResponseExtended = errors.New("ws: 101 with an extension that was not asked for")
	errResponseProtocol = errors.New("ws: 101 with a subprotocol that was not asked for, or two")
)

// CheckResponse reports whether head, one whole response head with its final
// empty line, interim responses before it or not (see [SkipInterim]), accepts the upgrade that a ClientRequest with this key and
// subprotocol, and without extensions, asked for (RFC 6455 section 4.1). A
// server may decline the subprotocol. Another status than 101 is a
// [*RefusedError], whatever else there is in head; all other errors say that the
// server got it wrong. It allocates nothing unless there is an error.
func CheckResponse(head []byte, key, subprotocol string) error {
	var a answer
	if err := a.parse(head); err != nil {
		return err
	}
	return a.check(key, subprotocol)
}

// cutResponseLine takes the first line off p, without its CRLF; ok is false if
// it has none.
func cutResponseLine(p []byte) (line, rest []byte, ok bool) {
	lf := bytes.IndexByte(p, '\n')
	if lf < 1 || p[lf-1] != '\r' {
		return nil, nil, false
	}
	return p[:lf-1], p[lf+1:], true
}

// refusedBy makes an error of a status line. It takes HTTP/1.0 and a missing
// reason phrase too: the status is worth more than the server's manners.
func refusedBy(line []byte) error {
	const versionEnd, statusEnd = len("HTTP/1.1 "), len("HTTP/1.1 101")
	if len(line) < statusEnd || string(line[:versionEnd]) != "HTTP/1.1 " && string(line[:versionEnd]) != "HTTP/1.0 " {
		return errStatusLine
	}
	status, ok := parseDecimal(line[versionEnd:statusEnd], 999)
	reason := line[statusEnd:]
	if !ok || status < 100 || status == 101 || len(reason) > 0 && reason[0] != ' ' {
		return errStatusLine
	}
	return &RefusedError{Status: int(status), Reason: cleanReason(trimSpace(reason))}
}

func cleanReason(p []byte) string {
	clean := bytes.Clone(p[:min(len(p), maxReasonPhrase)])
	for i, b := range clean {
		if b < ' ' || b > '~' {
			clean[i] = '?'
		}
	}
	return string(clean)
}

// answer is what a 101 says about the upgrade. What stands twice is kept once
// and counted.
type answer struct {
	upgrade, accept, protocol, extension     []byte
	upgrades, accepts, protocols, extensions int
	connection                               bool // one of its elements is Upgrade
}

// parse reads a whole response head, and what interim responses there are before it.
func (a *answer) parse(head []byte) error {
	size, err := SkipInterim(head)
	if err != nil {
		return err
	}
	if size < len(head) { // else the last one is all there is
		head = head[size:]
	}
	line, _, ok := cutResponseLine(head)
	if !ok {
		return errStatusLine
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 101 ")) {
		return refusedBy(line)
	}
	return a.parseFields(head)
}

// parseFields reads the lines of a whole response head, whatever its status.
func (a *answer) parseFields(head []byte) error {
	line, rest, ok := cutResponseLine(head)
	if !ok || valueByte.run(line) != len(line) {
		return errStatusLine
	}
	for line, rest, ok = cutResponseLine(rest); len(line) > 0; line, rest, ok = cutResponseLine(rest) {
		if !a.read(line) {
			return errResponseSyntax
		}
	}
	if !ok || len(rest) > 0 {
		return errResponseSyntax
	}
	return nil
}

// read takes one header line; it is false if that is malformed.
func (a *answer) read(line []byte) bool {
	name := line[:tokenByte.run(line)]
	if len(name) == 0 || len(name) == len(line) || line[len(name)] != ':' {
		return false
	}
	value := trimSpace(line[len(name)+1:])
	if valueByte.run(value) != len(value) {
		return false
	}
	switch {
	case equalFold(name, "Upgrade"):
		a.upgrade = value
		a.upgrades++
	case equalFold(name, "Connection"):
		a.connection = a.connection || listHas(value, "Upgrade")
	case equalFold(name, acceptField):
		a.accept = value
		a.accepts++
	case equalFold(name, subprotocolField):
		a.protocol = value
		a.protocols++
	case equalFold(name, extensionsField):
		a.extension = value
		a.extensions++
	}
	return true
}

// listHas reports whether a comma-separated list holds element in any letter
// case.
func listHas(list []byte, element string) bool {
	for len(list) > 0 {
		var e []byte
		if e, list = cutElement(list); equalFold(e, element) {
			return true
		}
	}
	return false
}

func (a *answer) check(key, subprotocol string) error {
	want := acceptOf(key)
	switch {
	case a.upgrades != 1 || !equalFold(a.upgrade, "websocket"):
		return errResponseUpgrade
	case !a.connection:
		return errResponseConnect
	case a.accepts != 1 || !bytes.Equal(a.accept, want[:]):
		return errResponseAccept
	case a.extensions > 0:
		return errResponseExtended
	case a.protocols > 1 || a.protocols == 1 && (subprotocol == "" || string(a.protocol) != subprotocol):
		return errResponseProtocol
	}
	return nil
}
