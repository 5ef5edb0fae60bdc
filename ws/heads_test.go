package ws_test

import (
	"strings"

	"github.com/millrace/millrace/ws"
)

const (
	testKey = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455 section 1.3
	testSum = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// realHeads are request heads as these clients send them.
var realHeads = []struct{ name, head string }{
	{"Chromium", head("GET /rooms/7?token=a%20b&x HTTP/1.1",
		"Host: chat.example.com",
		"Connection: Upgrade",
		"Pragma: no-cache",
		"Cache-Control: no-cache",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
		"Upgrade: websocket",
		"Origin: http://chat.example.com",
		"Sec-WebSocket-Version: 13",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Accept-Language: en-GB,en-US;q=0.9,en;q=0.8",
		`Cookie: sid=31d4d96e407aad42; theme="dark"; empty=`,
		"Sec-WebSocket-Key: "+testKey,
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")},
	{"Firefox", head("GET /rooms/7 HTTP/1.1",
		"Host: localhost:8080",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
		"Accept: */*",
		"Accept-Language: en-US,en;q=0.5",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Sec-WebSocket-Version: 13",
		"Origin: http://localhost:8080",
		"Sec-WebSocket-Protocol: chat, superchat",
		"Sec-WebSocket-Extensions: permessage-deflate",
		"Sec-WebSocket-Key: "+testKey,
		"DNT: 1",
		"Connection: keep-alive, Upgrade",
		"Sec-Fetch-Dest: empty",
		"Sec-Fetch-Mode: websocket",
		"Sec-Fetch-Site: same-origin",
		"Pragma: no-cache",
		"Cache-Control: no-cache",
		"Upgrade: websocket")},
	{"Safari", head("GET / HTTP/1.1",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Host: [::1]:8080",
		"Origin: http://[::1]:8080",
		"Sec-WebSocket-Key: "+testKey,
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Extensions: x-webkit-deflate-frame")},
	{"python-websockets", head("GET /echo HTTP/1.1",
		"Host: 127.0.0.1:8080",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: "+testKey,
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
		"User-Agent: Python/3.12 websockets/14.1")},
	{"npm-ws", head("GET /echo HTTP/1.1",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: "+testKey,
		"Connection: Upgrade",
		"Upgrade: websocket",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
		"Host: localhost:8080")},
	{"curl", head("GET /echo HTTP/1.1",
		"Host: localhost:8080",
		"User-Agent: curl/8.11.0",
		"Accept: */*",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: "+testKey)},
}

// head joins lines to a request head.
func head(lines ...string) string {
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// upgradeLines are those of the shortest upgrade, by field name.
var upgradeLines = []string{
	"Host: example.com",
	"Upgrade: websocket",
	"Connection: Upgrade",
	"Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: " + testKey,
}

// upgrade is the shortest upgrade: each of lines replaces the one of the same
// name, or leaves it out if it has no value ("Host:"), or comes in addition;
// a second line of one name always comes in addition.
func upgrade(lines ...string) string {
	all := []string{"GET /chat HTTP/1.1"}
	used := make([]bool, len(lines))
	for _, line := range upgradeLines {
		name, _, _ := strings.Cut(line, ":")
		for i, l := range lines {
			if n, value, _ := strings.Cut(l, ":"); n == name && !used[i] {
				used[i], line = true, l
				if value == "" {
					line = ""
				}
				break
			}
		}
		if line != "" {
			all = append(all, line)
		}
	}
	for i, l := range lines {
		if !used[i] {
			all = append(all, l)
		}
	}
	return head(all...)
}

// status is the status of a refusal, 0 for nil, -1 for another error.
func status(err error) int {
	if err == nil {
		return 0
	}
	if refusal, ok := err.(*ws.Refusal); ok {
		return refusal.Status
	}
	return -1
}
