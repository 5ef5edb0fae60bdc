// Package gateway lets clients use the topics of a pubsub.Hub by URL: over WebSockets, by event streams
// and by plain HTTP, each within what it may.
//
//	g, err := gateway.New(hub, gateway.Options{Auth: []gateway.Authenticator{keys}})
//	...
//	srv.Upgrade = g.Upgrade   // WebSockets and event streams at /topics/...
//	srv.HTTP = g.HTTP(pages)  // and /history, /presence, /stats; all else is pages'
//
// docs/gateway.md is about the URLs and the envelope protocol. Who may do what are [Rights]: patterns of
// topics. They come with a token, which an [Authenticator] judges: packages keyfile and jwtauth have two. Whoever
// brings no token has Options.Anonymous.
package gateway

// For contributors: upgrade.go is the hook, session.go a connection from then on, command.go what it asks in the
// envelope protocol, expiry.go the end of its token; http.go and http_read.go are plain requests, and
// http_memory.go and http_rate.go bound them.
