package main

import (
	"encoding/json"
	"log"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// historyLength is how many messages a newcomer is shown.
const historyLength = 50

// codeNameTaken is a close code of our own: 4000 to 4999 are the application's.
const codeNameTaken ws.Code = 4409

// said is what a client sends.
type said struct {
	Text string `json:"text"`
}

// event is what the server sends.
type event struct {
	Kind  string    `json:"kind"` // "welcome", "join", "say" or "leave"
	Name  string    `json:"name,omitempty"`
	Text  string    `json:"text,omitempty"`
	At    time.Time `json:"at,omitzero"`
	Names []string  `json:"names,omitempty"` // with "welcome": who is here
}

// guest is a connection's value: who he is, and where.
type guest struct{ name, room string }

// chat is the handler of all connections.
type chat struct {
	mu    sync.Mutex
	rooms map[string]*room
}

// room is there as long as somebody is in it. So there are never more rooms than
// connections, and their history needs no other bound.
type room struct {
	members map[string]*server.Conn // by name
	all     *server.Group           // the same, for what everybody gets
	history []*ws.Prepared
}

// Open is called before the first message. Only here, not in the upgrade hook, the
// guest enters the room: a request that the hook has accepted may still come to
// nothing, but each Open has its Close.
func (ch *chat) Open(c *server.Conn) {
	g, _ := server.Value[*guest](c)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	r := ch.rooms[g.room]
	if r == nil {
		r = &room{members: map[string]*server.Conn{}, all: c.Server().NewGroup(server.GroupOptions{})}
		ch.rooms[g.room] = r
	}
	if r.members[g.name] != nil {
		_ = c.Close(codeNameTaken, "somebody here has this name")
		return
	}
	r.members[g.name] = c
	_ = c.SendJSON(event{Kind: "welcome", Names: slices.Sorted(maps.Keys(r.members))})
	for _, p := range r.history {
		_ = c.SendPrepared(p)
	}
	_, _ = r.all.Join(c) // an error says that he is gone: his Close follows
	r.tell(event{Kind: "join", Name: g.name, At: time.Now()})
}

// Message is called for each message. m.Payload is only valid until it returns; what
// is decoded from it is a copy.
func (ch *chat) Message(c *server.Conn, m ws.Message) {
	var in said
	if err := m.JSON(&in); err != nil {
		_ = c.Close(ws.CodeInvalidPayload, `send {"text": "..."}`)
		return
	}
	g, _ := server.Value[*guest](c)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	r := ch.rooms[g.room]
	p := r.tell(event{Kind: "say", Name: g.name, Text: in.Text, At: time.Now()})
	if len(r.history) == historyLength {
		r.history = slices.Delete(r.history, 0, 1)
	}
	r.history = append(r.history, p)
}

// Close is called once for each Open, however the connection has ended.
func (ch *chat) Close(c *server.Conn, _ error) {
	g, _ := server.Value[*guest](c)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	r := ch.rooms[g.room]
	if r == nil || r.members[g.name] != c {
		return // he has never entered: his name was taken
	}
	delete(r.members, g.name)
	if len(r.members) == 0 {
		delete(ch.rooms, g.room)
		return
	}
	r.tell(event{Kind: "leave", Name: g.name, At: time.Now()})
}

// tell sends an event to everybody in the room, framed once: the loops do it. The caller
// holds the chat's lock, so that a newcomer gets the history, then what is new, and nothing
// twice; Send does not block and calls no handler. Who is too slow is closed: his Close
// follows and tells the others.
func (r *room) tell(e event) *ws.Prepared {
	text, err := json.Marshal(e)
	if err != nil {
		log.Panicf("chat: %v", err) // there is no event that JSON can not say
	}
	p := ws.Prepare(ws.Text, text)
	if _, err := r.all.Send(p); err != nil {
		log.Printf("chat: nobody is told: %v", err) // the loops are far behind
	}
	return p
}
