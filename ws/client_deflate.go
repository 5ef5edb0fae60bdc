package ws

import (
	"errors"
	"io"
	"slices"

	gobwas "github.com/gobwas/ws"

	"github.com/millrace/millrace/internal/buffer"
)

var errResponseDeflate = errors.New("ws: 101 with an extension, or parameters of one, that were not asked for")

// CheckResponse is the function CheckResponse for a request that may offer
// permessage-deflate: agreed is what the server has made of the offer, and not
// Agreed if it has declined it.
func (r *ClientRequest) CheckResponse(head []byte, key string) (agreed DeflateParams, err error) {
	var a answer
	if err := a.parse(head); err != nil {
		return agreed, err
	}
	if r.Deflate != nil && a.extensions > 0 {
		var ok bool
		if agreed, ok = r.Deflate.agree(a.extension); !ok || a.extensions > 1 {
			return DeflateParams{}, errResponseDeflate
		}
		a.extensions = 0
	}
	if err := a.check(key, r.Subprotocol); err != nil {
		return DeflateParams{}, err
	}
	return agreed, nil
}

// offerable reports whether p can be an offer.
func (p DeflateParams) offerable() bool {
	server, client := p.ServerMaxWindowBits, p.ClientMaxWindowBits
	return (server == 0 || server == windowBits(server)) && (client == 0 || client == windowBits(client))
}

func (p DeflateParams) appendOffer(dst []byte) []byte {
	p.namesServerBits, p.namesClientBits = p.ServerMaxWindowBits > 0, p.ClientMaxWindowBits > 0
	return p.append(dst)
}

// agree holds the server's answer to the offer p (RFC 7692 section 7.1): what was
// asked of the server must be granted, and what was not offered for the client
// must not be asked of it.
func (p DeflateParams) agree(extension []byte) (agreed DeflateParams, ok bool) {
	name, params, rest, ok := cutExtension(extension)
	if !ok || string(name) != deflateName {
		return agreed, false
	}
	a, ok := parseDeflate(params)
	switch {
	case !ok || len(rest) > 0 || a.clientBitsBare,
		p.ServerNoContextTakeover && !a.serverNoTakeover,
		p.ServerMaxWindowBits > 0 && (a.serverBits == 0 || a.serverBits > p.ServerMaxWindowBits),
		a.clientBits > p.ClientMaxWindowBits:
		return agreed, false
	}
	agreed = DeflateParams{
		ServerNoContextTakeover: a.serverNoTakeover,
		ClientNoContextTakeover: a.clientNoTakeover || p.ClientNoContextTakeover,
		ServerMaxWindowBits:     windowBits(a.serverBits),
		ClientMaxWindowBits:     windowBits(p.ClientMaxWindowBits),
	}
	if a.clientBits > 0 {
		agreed.ClientMaxWindowBits = a.clientBits
	}
	return agreed, true
}

// AppendMaskedFrame is AppendFrame for a client: the frame is masked with key,
// as by the function AppendMaskedFrame.
func (z Deflater) AppendMaskedFrame(dst []byte, op Opcode, payload []byte, key [4]byte, w *Window) (frame []byte, compressed bool) {
	start := len(dst)
	dst, compressed = z.AppendFrame(dst, op, payload, w)
	header := start + headerSize(dst[start:])
	dst = slices.Insert(dst, header, key[:]...)
	dst[start+1] |= bitMask
	gobwas.Cipher(dst[header+maskLen:], key, 0)
	return dst, compressed
}

// AppendInflated appends what the payload of a compressed message, all its frames
// together, stands for. w is the context that the sender takes over from message
// to message, nil for none; it takes the message in. The error is a *CloseError:
// CodeTooBig once the message has more than limit bytes, CodeInvalidPayload if
// it is corrupt, and dst is then as it was. Text is not checked. It allocates
// only if dst has too little room, or no inflater is in the pool.
func AppendInflated(dst, payload []byte, limit int64, w *Window) ([]byte, error) {
	in := buffer.Get(len(payload) + len(flushTail))
	in.B = append(append(in.B, payload...), flushTail...)
	defer in.Free()
	f := newInflater(in.B, w)
	defer f.free()
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(len(payload), 512))
		}
		n, err := f.readWithin(limit-int64(len(dst)-start), dst[len(dst):cap(dst)])
		switch {
		case err == nil:
			dst = dst[:len(dst)+n]
		case err == io.EOF:
			if w != nil {
				w.Add(dst[start:])
			}
			return dst, nil
		default:
			return dst[:start], err
		}
	}
}
