package ws

const (
	extensionsField = "Sec-WebSocket-Extensions"
	// maxEmptyElements is how many elements of the list may be empty. RFC 9110
	// section 5.6.1.2 wants a reasonable number of them ignored: enough for senders
	// that merge lists badly, too few to be an attack.
	maxEmptyElements = 8
)

// A list of extensions is cut up by the grammar of RFC 6455 section 9.1, which
// allows whitespace around each of its tokens, with RFC 9110's rules for lists:
// elements between commas, of which some may be empty, each a token and parameters
// behind semicolons. It is one pass without a copy, whatever the list.

// extensionsValid reports whether the client's list of extensions, all lines
// together, is well formed: what is not fails the handshake, whether or not the
// server knows any extension (RFC 6455 section 9.1). A list without one element
// that is not empty is none.
func (r *Request) extensionsValid() bool {
	lines, full, empty := 0, 0, 0
	for list := range r.each(extensionsField) {
		lines++
		for more := true; more; {
			if list = trimSpace(list); len(list) == 0 || list[0] == ',' {
				empty++
			} else if _, _, rest, ok := cutExtension(list); ok {
				full++
				list = rest
			} else {
				return false
			}
			if more = len(list) > 0; more {
				list = list[1:]
			}
		}
	}
	return lines == 0 || full > 0 && empty <= maxEmptyElements
}

// extensionParam is one parameter of an extension. value is nil if there is
// none, and the bytes between the quotes, not unescaped, of a quoted one.
type extensionParam struct {
	name, value []byte
	quoted      bool
}

// cutExtension takes the first extension off a list: params is what stands
// behind its name, for cutExtensionParam. name is empty at the list's end; ok is
// false if the list is malformed up to the end of that extension.
func cutExtension(list []byte) (name, params, rest []byte, ok bool) {
	for list = trimSpace(list); len(list) > 0 && list[0] == ','; {
		list = trimSpace(list[1:])
	}
	if len(list) == 0 {
		return nil, nil, nil, true
	}
	n := tokenByte.run(list)
	name, rest = list[:n], trimSpace(list[n:])
	params = rest
	for len(rest) > 0 && rest[0] == ';' {
		if _, rest, ok = cutExtensionParam(rest); !ok {
			return nil, nil, nil, false
		}
	}
	if n == 0 || len(rest) > 0 && rest[0] != ',' {
		return nil, nil, nil, false
	}
	return name, params[:len(params)-len(rest)], rest, true
}

// cutExtensionParam takes the first parameter, with the semicolon before it, off
// p.
func cutExtensionParam(p []byte) (param extensionParam, rest []byte, ok bool) {
	p = trimSpace(p[1:])
	n := tokenByte.run(p)
	if n == 0 {
		return param, nil, false
	}
	param.name, p = p[:n], trimSpace(p[n:])
	if len(p) == 0 || p[0] != '=' {
		return param, p, true
	}
	if p = trimSpace(p[1:]); len(p) > 0 && p[0] == '"' {
		n = quotedToken(p)
		if n == 0 {
			return param, nil, false
		}
		param.value, param.quoted = p[1:n-1], true
		return param, trimSpace(p[n:]), true
	}
	if n = tokenByte.run(p); n == 0 {
		return param, nil, false
	}
	param.value = p[:n]
	return param, trimSpace(p[n:]), true
}

// quotedToken is the length of the quoted string that p begins with, its quotes
// included; 0 if it has no end, or is not a token when it is unescaped, as RFC 6455
// section 9.1 demands.
func quotedToken(p []byte) int {
	for n := 1; n < len(p); n++ {
		switch {
		case p[n] == '"' && n > 1:
			return n + 1
		case p[n] == '\\':
			n++ // what it quotes
		}
		if n == len(p) || !tokenByte.has(p[n]) {
			return 0
		}
	}
	return 0
}
