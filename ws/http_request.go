package ws

import (
	"context"
	"net/http"
	"net/url"
)

// HTTP is the request as net/http has requests, for libraries that want one: sessions,
// authentication, tracing. It is a copy, which may be kept and changed. Header has
// canonical names and no Host, URL is the target, RemoteAddr what RemoteAddr says,
// TLS is TLSState, and path values come along; there is no body.
func (r *Request) HTTP(ctx context.Context) *http.Request {
	h := &http.Request{
		Method: r.Method(), Host: r.Host(), RequestURI: r.Target(), TLS: r.TLSState,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(r.fields)), Body: http.NoBody,
	}
	switch {
	case r.ExtendedConnect:
		h.Proto, h.ProtoMajor, h.ProtoMinor = "HTTP/2.0", 2, 0
	case r.http10:
		h.Proto, h.ProtoMinor = "HTTP/1.0", 0
	}
	if r.RemoteAddr.IsValid() {
		h.RemoteAddr = r.RemoteAddr.String()
	}
	for name, value := range r.Headers() {
		if name = http.CanonicalHeaderKey(name); name != "Host" {
			h.Header[name] = append(h.Header[name], value)
		}
	}
	h.URL = r.url()
	for _, v := range r.pathValues {
		h.SetPathValue(v.name, v.value)
	}
	return h.WithContext(ctx)
}

// url is the target as net/http has it.
func (r *Request) url() *url.URL {
	if string(r.method) == http.MethodConnect {
		return &url.URL{Host: r.Target()} // it names no path
	}
	if u, err := url.ParseRequestURI(r.Target()); err == nil {
		return u
	}
	return &url.URL{Path: r.Path(), RawQuery: r.RawQuery()} // net/url is stricter
}
