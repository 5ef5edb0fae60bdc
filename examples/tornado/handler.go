package main

import (
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"slices"
	"sync"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// cacheSize is how many messages a newcomer is shown.
const cacheSize = 200

// chat is what the class's attributes are in Tornado, what all connections share; and it
// is the Handler of them all.
//
//	class ChatSocketHandler(tornado.websocket.WebSocketHandler):
//	    waiters = set()
//	    cache = []
//	    cache_size = 200
type chat struct {
	mu      sync.Mutex // in Tornado the one thread
	waiters map[*server.Conn]struct{}
	cache   []message
	last    int
}

// message is what Tornado's demo has as a dict.
type message struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Body string `json:"body"`
}

// person is what an object's attributes are in Tornado: the state of one connection.
type person struct {
	name string
	said int
}

// prepare is called before the upgrade, and may refuse it. Cookies, headers and the
// path's values are at hand: Cookie, Header, PathValue; HTTP for libraries of net/http.
//
//	def prepare(self):
//	    self.name = self.get_argument("name", "")
//	    self.said = 0
//	    if not self.name:
//	        raise tornado.web.HTTPError(400, "who are you?")
func (ch *chat) prepare(r *ws.Request) (server.Accept, error) {
	name := r.Query().Get("name")
	if name == "" {
		return server.Accept{}, &ws.Refusal{Status: http.StatusBadRequest, Reason: "who are you?"}
	}
	return server.Accept{Value: &person{name: name}}, nil
}

// Open is Tornado's open. A dict that is given to write_message becomes JSON; so does
// what is given to SendJSON.
//
//	def open(self):
//	    self.waiters.add(self)
//	    self.write_message({"messages": self.cache})
func (ch *chat) Open(c *server.Conn) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.waiters[c] = struct{}{}
	_ = c.SendJSON(map[string]any{"messages": append([]message{}, ch.cache...)})
}

// Message is Tornado's on_message. Whether the message is a str or bytes there, is
// m.Opcode here: ws.Text or ws.Binary. As there, the next message of this connection is
// not read before this one is done. The payload is valid until Message returns; what
// JSON has decoded is a copy.
//
//	def on_message(self, message):
//	    parsed = tornado.escape.json_decode(message)
//	    if parsed.get("body") == "bye":
//	        self.close(1000, "see you")
//	        return
//	    self.said += 1
//	    self.send_updates({"name": self.name, "body": parsed["body"]})
//
// An exception in Tornado's on_message closes the connection, and so does a panic here,
// with 1011. An error that the client has made is better told.
func (ch *chat) Message(c *server.Conn, m ws.Message) {
	var parsed struct {
		Body string `json:"body"`
	}
	if err := m.JSON(&parsed); err != nil {
		_ = c.Close(ws.CodeInvalidPayload, "this is no JSON")
		return
	}
	if parsed.Body == "bye" {
		_ = c.Close(ws.CodeNormal, "see you")
		return
	}
	p, _ := server.Value[*person](c)
	p.said++ // no lock: this connection's methods are called one at a time
	ch.sendUpdates(message{Name: p.name, Body: parsed.Body})
}

// Close is Tornado's on_close, and comes exactly once for each Open. The error has what
// close_code and close_reason say there.
//
//	def on_close(self):
//	    self.waiters.remove(self)
//	    logging.info("%s said %d, closed with %s", self.name, self.said, self.close_code)
func (ch *chat) Close(c *server.Conn, err error) {
	ch.mu.Lock()
	delete(ch.waiters, c)
	ch.mu.Unlock()
	p, _ := server.Value[*person](c)
	if end := (*ws.CloseError)(nil); errors.As(err, &end) {
		log.Printf("tornado: %q said %d, closed with %v", p.name, p.said, end.Code)
	}
}

// Pong is Tornado's on_pong; a Ping method would be on_ping. Both are optional there and
// here, and pings are answered in any case.
//
//	def on_pong(self, data):
//	    pass
func (ch *chat) Pong(*server.Conn, []byte) {}

// sendUpdates tells everybody.
//
//	@classmethod
//	def send_updates(cls, chat):
//	    cls.cache.append(chat)
//	    cls.cache = cls.cache[-cls.cache_size:]
//	    for waiter in cls.waiters:
//	        try:
//	            waiter.write_message(chat)
//	        except tornado.websocket.WebSocketClosedError:
//	            pass  # on_close follows
//
// Here the message is made and framed once for all, and compressed once for those who
// agreed to that. The lock keeps it in one order for all; no send blocks under it.
func (ch *chat) sendUpdates(m message) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.last++
	m.ID = ch.last
	if len(ch.cache) == cacheSize {
		ch.cache = slices.Delete(ch.cache, 0, 1)
	}
	ch.cache = append(ch.cache, m)
	text, err := json.Marshal(m)
	if err != nil {
		log.Panicf("tornado: %v", err) // there is no message that JSON can not say
	}
	p := ws.Prepare(ws.Text, text)
	for c := range ch.waiters {
		_ = c.SendPrepared(p) // ErrClosed: its Close follows
	}
}

func (ch *chat) count() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.waiters)
}
