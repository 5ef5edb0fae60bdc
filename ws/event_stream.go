package ws

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/millrace/millrace/sse"
)

// An event stream (package sse) is asked for with a plain GET: WHATWG HTML, "Server-sent
// events". What is the same for WebSockets is here.

var (
	refuseEventBody    = badRequest("a request for an event stream has no body")
	refuseNoEvents     = badRequest("need a GET with text/event-stream in Accept")
	errEventsProtocol  = errors.New("ws: an event stream has no subprotocol")
	errEventsMediaType = errors.New("ws: the Content-Type of an event stream is its own")
)

// EventStream reports whether the request is for an event stream: a GET that asks for no
// WebSocket and whose Accept has text/event-stream, as such (a wildcard is not enough) and not with a quality of 0.
func (r *Request) EventStream() bool {
	if r.ExtendedConnect || string(r.method) != http.MethodGet || r.WantsUpgrade() {
		return false
	}
	for list := range r.each("Accept") {
		for len(list) > 0 {
			var element []byte
			if element, list = cutElement(list); acceptsEvents(element) {
				return true
			}
		}
	}
	return false
}

// acceptsEvents judges an element of Accept (RFC 9110 section 12.5.1).
func acceptsEvents(element []byte) bool {
	mediaType, parameters, _ := bytes.Cut(element, []byte(";"))
	if !equalFold(trimSpace(mediaType), sse.ContentType) {
		return false
	}
	for len(parameters) > 0 {
		var parameter []byte
		parameter, parameters, _ = bytes.Cut(parameters, []byte(";"))
		name, value, _ := bytes.Cut(parameter, []byte("="))
		if equalFold(trimSpace(name), "q") && len(bytes.Trim(trimSpace(value), "0.")) == 0 {
			return false
		}
	}
	return true
}

// CheckEventStream reports whether the request, an EventStream, may be answered with one.
// If not, the error is a [*Refusal], 400: there is a body, or more than one Origin. It
// does not judge the Origin's value.
func (r *Request) CheckEventStream() error {
	switch _, origins := r.first("Origin"); {
	case !r.EventStream():
		return refuseNoEvents
	case r.hasBody:
		return refuseEventBody
	case origins > 1:
		return refuseOriginTwice
	}
	return nil
}

// AppendEventStream appends the head of the 200 that answers r with an event stream, over
// HTTP/1: the stream goes on until the connection ends. resp may be nil; its Header may have fields
// of its own in place of Cache-Control and X-Accel-Buffering (which tells nginx to pass events on at
// once). On an error, which is the caller's mistake and not the peer's, dst is returned as it was.
func AppendEventStream(dst []byte, resp *Response) ([]byte, error) {
	if resp == nil {
		resp = &noResponse
	}
	const begin = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
	if len(resp.Header) == 0 && resp.Subprotocol == "" { // the same without a map
		dst = appendDate(append(dst, begin...), resp.Date, nil)
		return append(dst, "Cache-Control: no-store\r\nContent-Type: "+sse.ContentType+"\r\nX-Accel-Buffering: no\r\n\r\n"...), nil
	}
	header, err := EventStreamHeader(resp)
	if err != nil {
		return dst, err
	}
	dst = appendDate(append(dst, begin...), resp.Date, header)
	return append(appendHeader(dst, header), "\r\n"...), nil
}

// EventStreamHeader is the header of the 200 over HTTP/2: AppendEventStream's without what is
// HTTP/1.1's.
func EventStreamHeader(resp *Response) (http.Header, error) {
	if resp == nil {
		resp = &noResponse
	}
	if resp.Subprotocol != "" {
		return nil, errEventsProtocol
	}
	if err := resp.check(nil); err != nil {
		return nil, err
	}
	h := http.Header{"Cache-Control": {"no-store"}, "X-Accel-Buffering": {"no"}}
	for name, values := range resp.Header {
		if equalFold(name, "Content-Type") {
			return nil, errEventsMediaType
		}
		h[http.CanonicalHeaderKey(name)] = values
	}
	h.Set("Content-Type", sse.ContentType)
	return h, nil
}
