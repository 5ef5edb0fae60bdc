// Package xconnect lets net/http accept WebSockets over HTTP/2 (RFC 8441) in the
// program that imports it:
//
//	import _ "github.com/millrace/millrace/server/xconnect"
//
// It exports nothing. net/http has extended CONNECT switched off, and reads from
// the environment, as the program starts, whether to switch it on:
// GODEBUG=http2xconnect=1. This package sets that, unless the environment says
// http2xconnect=0; child processes inherit it. It comes before net/http because Go
// initializes packages in the order of their import paths once what they import
// is ready, and this one needs next to nothing.
//
// Browsers then use HTTP/2 for the WebSockets of all origins that the program
// serves over it. Who has WebSockets of another library there, which knows no
// extended CONNECT, should not import it.
package xconnect

import (
	"os"
	"strings"
)

const setting = "http2xconnect="

func init() {
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, setting) {
		return // somebody has decided
	}
	if debug != "" {
		debug += ","
	}
	_ = os.Setenv("GODEBUG", debug+setting+"1") // without it, HTTP/1.1 serves all
}
