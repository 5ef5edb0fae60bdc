package server

import "github.com/millrace/millrace/ws"

// MessageFunc is a Handler that is one function, for messages alone.
type MessageFunc func(c *Conn, m ws.Message)

// Open implements Handler.
func (MessageFunc) Open(*Conn) {}

// Message implements Handler.
func (f MessageFunc) Message(c *Conn, m ws.Message) { f(c, m) }

// Close implements Handler.
func (MessageFunc) Close(*Conn, error) {}

// StreamFunc is a StreamHandler that is one function, for the pieces of messages alone.
type StreamFunc func(c *Conn, m ws.Message)

// Open implements Handler.
func (StreamFunc) Open(*Conn) {}

// Message implements Handler. The server does not call it.
func (f StreamFunc) Message(c *Conn, m ws.Message) { f(c, m) }

// Piece implements StreamHandler.
func (f StreamFunc) Piece(c *Conn, m ws.Message) { f(c, m) }

// Close implements Handler.
func (StreamFunc) Close(*Conn, error) {}

// HandlerFuncs is a Handler made of functions; nil ones do nothing. What holds for
// the methods of Handler, PingHandler, PongHandler, DrainedHandler and MissedHandler holds for them. It
// gets messages whole: a type that embeds it and has a method Piece is a StreamHandler.
type HandlerFuncs struct {
	OnOpen    func(c *Conn)
	OnMessage func(c *Conn, m ws.Message)
	OnClose   func(c *Conn, err error)
	OnPing    func(c *Conn, payload []byte)
	OnPong    func(c *Conn, payload []byte)
	OnDrained func(c *Conn)
	OnMissed  func(c *Conn, messages int)
}

// Open implements Handler.
func (h HandlerFuncs) Open(c *Conn) {
	if h.OnOpen != nil {
		h.OnOpen(c)
	}
}

// Message implements Handler.
func (h HandlerFuncs) Message(c *Conn, m ws.Message) {
	if h.OnMessage != nil {
		h.OnMessage(c, m)
	}
}

// Close implements Handler.
func (h HandlerFuncs) Close(c *Conn, err error) {
	if h.OnClose != nil {
		h.OnClose(c, err)
	}
}

// Ping implements PingHandler.
func (h HandlerFuncs) Ping(c *Conn, payload []byte) {
	if h.OnPing != nil {
		h.OnPing(c, payload)
	}
}

// Pong implements PongHandler.
func (h HandlerFuncs) Pong(c *Conn, payload []byte) {
	if h.OnPong != nil {
		h.OnPong(c, payload)
	}
}

// Drained implements DrainedHandler.
func (h HandlerFuncs) Drained(c *Conn) {
	if h.OnDrained != nil {
		h.OnDrained(c)
	}
}

// Missed implements MissedHandler.
func (h HandlerFuncs) Missed(c *Conn, messages int) {
	if h.OnMissed != nil {
		h.OnMissed(c, messages)
	}
}
