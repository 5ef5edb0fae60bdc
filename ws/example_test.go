package ws_test

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/ws"
)

// A server that has agreed upon permessage-deflate with context takeover makes
// frames, and a client reads them.
func ExampleDeflater() {
	sent, seen := ws.Window{Bits: 13}, ws.Window{Bits: 15}
	message := []byte(strings.Repeat("the wheel turns and turns, ", 10))
	for range 2 {
		frame, compressed := ws.Deflater{}.AppendFrame(nil, ws.Text, message, &sent)
		if compressed {
			sent.Add(message) // it is certain to be sent
		}
		h, n, err := ws.ParseDeflateHeader(frame)
		if err != nil {
			fmt.Println(err)
			return
		}
		got, err := ws.AppendInflated(nil, frame[n:], 1<<20, &seen)
		fmt.Println(h.Opcode, h.Compressed, len(frame) < 60, string(got) == string(message), err)
	}
	// Output:
	// text true true true <nil>
	// text true true true <nil>
}

func ExampleRequest_OriginIn() {
	var allowed []ws.OriginPattern
	for _, text := range []string{"https://*.example.com", "capacitor://localhost", "https://example.com/chat"} {
		p, err := ws.ParseOriginPattern(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		allowed = append(allowed, p)
	}
	for _, origin := range []string{"https://app.example.com", "https://example.com", "capacitor://localhost"} {
		var r ws.Request
		if err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: ws.example.net\r\nOrigin: " + origin + "\r\n\r\n")); err != nil {
			fmt.Println(err)
		}
		fmt.Println(origin, r.OriginIn(allowed))
	}
	// Output:
	// ws: "https://example.com/chat": want an origin without a path or anything else behind the host, such as https://example.com
	// https://app.example.com true
	// https://example.com false
	// capacitor://localhost true
}
