// Package interop tests the server against clients that this project did not
// write (gorilla/websocket and coder/websocket in Go, websockets in Python, ws in
// JavaScript) and behind balancers (HAProxy, nginx). It is a module of its own, so
// that nobody who uses the library gets these dependencies.
package interop
