package ws

import "net/http"

// RFC 8441: a WebSocket over HTTP/2 is opened with an extended CONNECT. What
// HTTP/1.1 says with the method GET, Upgrade, Connection and the key is said by
// the pseudo-header fields and by the framing of HTTP/2 itself (section 5).

var (
	refuseConnectBody    = badRequest("a WebSocket's CONNECT has no Content-Length")
	refuseConnectVersion = &Refusal{
		Status: http.StatusBadRequest,
		Reason: "this server speaks version 13 of the WebSocket protocol",
		Header: http.Header{http.CanonicalHeaderKey(versionField): {"13"}}, // there is no 426 in HTTP/2: nothing to upgrade
	}
)

// checkConnect is checkUpgrade for an extended CONNECT.
func (r *Request) checkConnect() *Refusal {
	switch {
	case r.hasBody:
		return refuseConnectBody // the stream would end, or fail, after so many bytes
	case r.checkVersion() != nil:
		return refuseConnectVersion
	}
	return r.checkOffers()
}

// ConnectHeader is the header of the 200 that accepts r, an extended CONNECT
// that CheckUpgrade has passed: AppendUpgrade's without what is HTTP/1.1's. resp
// may be nil. An error is the caller's mistake and not the peer's.
func ConnectHeader(r *Request, resp *Response) (http.Header, error) {
	if resp == nil {
		resp = &noResponse
	}
	if err := resp.check(r); err != nil {
		return nil, err
	}
	h := resp.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if resp.Subprotocol != "" {
		h.Set(subprotocolField, resp.Subprotocol)
	}
	if resp.Deflate.Agreed() {
		h.Set(extensionsField, string(resp.Deflate.appendValue(nil)))
	}
	return h, nil
}
