package ws

import "bytes"

const extensionsField = "Sec-WebSocket-Extensions"

// A list of extensions is cut up by the grammar of RFC 6455 section 9.1 with
// RFC 9110's rules for lists: elements between commas, of which some may be
// empty, each a token and parameters behind semicolons. It is one pass without
// a copy, whatever the list. Like most, it takes whitespace around commas and
// semicolons only.

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
	param.name, p = p[:n], p[n:]
	if len(p) == 0 || p[0] != '=' {
		return param, trimSpace(p), true
	}
	if p = p[1:]; len(p) > 0 && p[0] == '"' {
		n = quotedLength(p)
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

// quotedLength is the length of the quoted string that p begins with, its
// quotes included; 0 if it has no end.
func quotedLength(p []byte) int {
	for n := 1; ; {
		i := bytes.IndexAny(p[n:], `"\`)
		if i < 0 {
			return 0
		}
		if n += i + 1; p[n-1] == '"' {
			return n
		}
		n++ // what a backslash quotes
		if n > len(p) {
			return 0
		}
	}
}
