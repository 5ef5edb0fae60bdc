// Package interop tests the server against clients that this project did not
// write (gorilla/websocket and coder/websocket in Go, websockets in Python, ws in
// JavaScript, golang.org/x/net over HTTP/2), behind balancers (HAProxy, nginx),
// and in routers that hand connections over (net/http, chi, gin). It is a module
// of its own, so that nobody who uses the library gets these dependencies.
package interop
