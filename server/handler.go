package server

import (
	"errors"
	"net/http"

	"github.com/millrace/millrace/ws"
)

// Handler is the application's side of WebSocket connections. For one
// connection the methods are called one at a time, in order: Open once, Message
// for each message, Close once. For different connections they are called at
// the same time. A method may block: its connection waits, the others go on
// (see Server.Runtime.Workers). A method that panics ends its connection with 1011
// and nothing else.
type Handler interface {
	// Open is called when the upgrade is accepted, before the first message.
	Open(c *Conn)
	// Message is called for each text or binary message. m.Payload is valid until
	// it returns and may be changed.
	Message(c *Conn, m ws.Message)
	// Close is called exactly once for each Open, when the connection is over; no
	// other method follows. err is a *ws.CloseError, possibly wrapped (use
	// errors.As): the peer's close frame (Remote is true), the code we closed
	// with, or 1006 when the connection broke without a close frame. Of an event stream that its
	// client has left it is 1005 with Remote.
	Close(c *Conn, err error)
}

// StreamHandler is a Handler that gets messages in pieces, as their bytes arrive,
// instead of whole: Piece is called in place of Message, which is never called. m.More
// is set on all pieces of a message but the last, which may be empty; a text may be cut
// within a rune, but all its bytes so far were checked. m.Payload is valid until Piece
// returns and may be changed. Limits.Message holds for the sum of the pieces. A
// compressed message is kept compressed until its last frame is there, and then given in
// pieces of at most 32 KiB. What the handler is, is looked at once, at the upgrade: one
// server may have handlers of both kinds.
type StreamHandler interface {
	Piece(c *Conn, m ws.Message)
}

// PingHandler is a Handler that wants to see the peer's pings. The pong is sent
// by the server in any case. The payload is valid until it returns.
type PingHandler interface {
	Ping(c *Conn, payload []byte)
}

// PongHandler is a Handler that wants to see the peer's pongs, those that answer
// the server's own keepalive pings (empty payload) included. The payload is
// valid until it returns.
type PongHandler interface {
	Pong(c *Conn, payload []byte)
}

// DrainedHandler is a Handler that wants to know when a connection's outbound
// queue, having held something, is empty again: the moment to send more to a
// slow reader. It is not called while another method of the connection runs: one that
// blocks until the queue is shorter uses Conn.WaitBuffered.
type DrainedHandler interface {
	Drained(c *Conn)
}

// MissedHandler is a Handler that wants to know when messages of groups were dropped
// because a connection reads too slowly: how many since it was last told, those that expired
// among them, but not those whose place a newer one with the same key took. It is called in a
// turn of the connection's, soon after the first; then once a second at most, until half of the queue
// is free. The connection may have got newer messages by then. What Missed sends makes room for itself
// among what may be dropped. What is to stand where the messages were is a MissedNotice.
type MissedHandler interface {
	Missed(c *Conn, messages int)
}

// Accept is what an Upgrade hook answers to accept a request. The zero value
// accepts with the server's Handler and nothing else.
//
// Exactly one of Open and Abandoned follows an Accept that a hook has returned without
// an error, or that was given to Server.Accept.
type Accept struct {
	// Handler for this connection; nil is Server.Handler.
	Handler Handler
	// Value is the connection's first Value.
	Value any
	// Subprotocol to select; it must be one the client offered. "" selects by
	// Server.Subprotocols.
	Subprotocol string
	// EventStream answers with an event stream. The request must be one (ws.Request.EventStream), and
	// one that is must get it: otherwise it is refused with 500 and a log line. The Handler gets
	// no messages then. Header is added to the 200: for pages of other origins it needs
	// Access-Control-Allow-Origin. See Server.EventStreams.
	EventStream bool
	// Enveloped has messages of groups, and SendPrepared, come in the form that
	// ws.PrepareOptions.Envelope makes, where there is one. All else is sent as it is.
	Enveloped bool
	// MissedNotice is what the connection gets in the place of messages of groups that were dropped, since
	// it reads too slowly; nil is nothing. It must not be changed any more.
	MissedNotice *MissedNotice
	// Header is added to the 101 response. The handshake's own fields may not be
	// in it.
	Header http.Header
	// KeepRequest keeps a copy of the request for Conn.Request beyond Open, at
	// the price of its bytes.
	KeepRequest bool
	// NoDeflate leaves this connection uncompressed, whatever Server.Deflate says.
	NoDeflate bool
	// Limits are this connection's where they differ from the server's; nil: none do.
	// They are copied. Connections with the same limits share one copy, of up to 1,000
	// different ones, and cost nothing more than others do. Values that can not work
	// refuse the request with 500 and a log line, which has the *FieldError.
	Limits *ConnLimits
	// Abandoned, if not nil, is called once if the connection is not opened after all: the
	// server shuts down, a field of Accept is wrong, the connection can not be taken over.
	// It frees what the hook has acquired, and may block as the hook may.
	Abandoned func()

	deflate *deflation
	shared  *handling  // Handler and MissedNotice, where many connections have the same
	own     *ownLimits // Limits
}

// handling is what an Accept has said of a connection for all its life. Connections may share it.
type handling struct {
	Handler
	missed *MissedNotice // nil: none
}

// handlingFor is what an Accept comes to, shared where many have the same.
func (s *Server) handlingFor(h Handler, missed *MissedNotice) (*handling, error) {
	if missed != nil {
		if err := missed.check(); err != nil {
			return nil, err
		}
	}
	shared := &s.fallback
	switch route, ok := h.(*routeHandler); {
	case ok:
		shared = &route.handling
	case h != nil:
		return &handling{h, missed}, nil
	}
	if missed != nil {
		return &handling{shared.Handler, missed}, nil
	}
	return shared, nil
}

var (
	// ErrServerClosed is what Serve and ListenAndServe return after Drain,
	// Shutdown or Close.
	ErrServerClosed = errors.New("server: closed")
	// ErrUseHTTP is what an Upgrade hook returns, wrapped or not, to leave a request to
	// Server.HTTP: for another WebSocket library, or for httputil.ReverseProxy. The request
	// comes there as it was sent, with its Upgrade header, and the connection may be hijacked
	// (over HTTP/2 it is the CONNECT of RFC 8441). Without HTTP it gets 404.
	//
	// RFC 6455's rules for the request, Limits.Conns, Limits.HandshakeRate, Origin.Hosts and
	// the origin have let the request pass before the hook is asked. What is served behind
	// HTTP may have other rules for origins: an Origin.Check that lets its paths pass leaves
	// the check to it. It must have one then, and needs the request's own Host for it: a page
	// elsewhere could open WebSockets in its visitor's name otherwise.
	//
	// A connection that is hijacked is HTTP's own, as with net/http: its place for its address
	// (Limits.ConnsPerAddr) is all of the server's that it has until it is closed. No deadline
	// holds, and a drain neither waits for it nor closes it.
	ErrUseHTTP = errors.New("server: the upgrade is left to Server.HTTP")
	// ErrClosed: the connection is closing or closed, and takes nothing more.
	ErrClosed = errors.New("server: connection closed")
	// ErrQueueFull: the peer does not read fast enough and the connection's
	// outbound queue is at its bound (Queue.Max), or all queues together are beyond
	// theirs (Limits.QueueMemory). The message was not accepted; with
	// CloseWhenFull the connection is closed, with DropNewest it goes on. In both cases
	// something is queued, so that DrainedHandler is called when it is written.
	ErrQueueFull = errors.New("server: outbound queue full")
	// ErrMessageTooBig: the message is larger than Server.Queue.Max, or the connection's own.
	// It was not accepted; with CloseWhenFull the connection is closed with 1009, with
	// DropNewest it goes on.
	ErrMessageTooBig = errors.New("server: message larger than the outbound queue may be")
	// ErrOpcode: a message is ws.Text or ws.Binary.
	ErrOpcode = errors.New("server: a message is text or binary")
	// ErrNotUTF8: a text is not valid UTF-8. Methods of this package look only with
	// Server.Runtime.Debug, those of pubsub always.
	ErrNotUTF8 = errors.New("server: text is not UTF-8")
	// ErrTooBig: a control frame's payload is longer than 125 bytes.
	ErrTooBig = errors.New("server: control payload longer than 125 bytes")
)

// warnUnhandled tells, once, that WebSockets are accepted whose messages nobody gets:
// most likely a Handler was forgotten, or the Mux that has them is not connected. A
// server can not know of a Mux that is not its Upgrade hook.
func (s *Server) warnUnhandled() {
	s.unhandled.Do(func() {
		s.log().Warn("messages are ignored", "why", "neither Server.Handler nor the Upgrade hook names a handler",
			"remedy", "set Server.Handler, or Server.Upgrade = mux.Upgrade if there is a Mux")
	})
}
