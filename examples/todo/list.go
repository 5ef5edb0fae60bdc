package main

import (
	"encoding/json"
	"log"
	"slices"
	"sync"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

const (
	mostTodos   = 100
	longestText = 200 // bytes
)

// command is what a client sends: "add" with a text, "toggle" and "remove" with an id.
type command struct {
	Do   string `json:"do"`
	Text string `json:"text"`
	ID   int    `json:"id"`
}

// list is what the server sends, whole each time: short, and never out of step.
type list struct {
	Name  string `json:"name"`
	Todos []todo `json:"todos"`
}

type todo struct {
	ID   int    `json:"id"`
	Text string `json:"text"`
	Done bool   `json:"done"`
}

// failure is what the server sends to the one window whose command made no sense.
type failure struct {
	Error string `json:"error"`
}

// app is the handler of all connections. One lock guards all that changes: nothing
// blocks while it is held, since no send does.
type app struct {
	users map[string]*user // never changes

	mu       sync.Mutex
	sessions map[string]*session // by the cookie's value
}

// user is somebody who may log in, and his list; guarded by app.mu.
type user struct {
	name  string
	todos []todo
	last  int // the id given last
	tabs  map[*server.Conn]struct{}
}

func newApp() *app {
	a := &app{users: map[string]*user{}, sessions: map[string]*session{}}
	for _, name := range []string{"ann", "bob"} {
		a.users[name] = &user{name: name, tabs: map[*server.Conn]struct{}{}}
	}
	return a
}

// Open lets the window join the others of its user, and shows it the list.
func (a *app) Open(c *server.Conn) {
	s, _ := server.Value[*session](c) // admit has put it there
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.over { // since admit has looked
		_ = c.Close(codeLoggedOut, "logged out")
		return
	}
	s.user.tabs[c] = struct{}{}
	_ = c.SendJSON(s.user.list())
}

// Message carries a command out and tells all windows of the user.
func (a *app) Message(c *server.Conn, m ws.Message) {
	s, _ := server.Value[*session](c)
	var cmd command
	if err := m.JSON(&cmd); err != nil {
		_ = c.SendJSON(failure{`send {"do": "add", "text": "..."}`})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if wrong := s.user.obey(cmd); wrong != "" {
		_ = c.SendJSON(failure{wrong})
		return
	}
	s.user.tell()
}

// Close is called once for each Open.
func (a *app) Close(c *server.Conn, _ error) {
	s, _ := server.Value[*session](c)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(s.user.tabs, c)
}

// obey changes the list, or says what is wrong with the command.
func (u *user) obey(cmd command) (wrong string) {
	i := slices.IndexFunc(u.todos, func(t todo) bool { return t.ID == cmd.ID })
	switch {
	case cmd.Do == "add" && (cmd.Text == "" || len(cmd.Text) > longestText):
		return "a text has 1 to 200 bytes"
	case cmd.Do == "add" && len(u.todos) == mostTodos:
		return "do something first"
	case cmd.Do == "add":
		u.last++
		u.todos = append(u.todos, todo{ID: u.last, Text: cmd.Text})
	case cmd.Do == "toggle" && i >= 0:
		u.todos[i].Done = !u.todos[i].Done
	case cmd.Do == "remove" && i >= 0:
		u.todos = slices.Delete(u.todos, i, i+1)
	case cmd.Do == "toggle" || cmd.Do == "remove":
		return "no such thing to do"
	default:
		return "no such command"
	}
	return ""
}

// list is a copy.
func (u *user) list() list {
	return list{u.name, append([]todo{}, u.todos...)} // not nil: in JSON that is null
}

// tell sends the list to all windows, framed once.
func (u *user) tell() {
	text, err := json.Marshal(u.list())
	if err != nil {
		log.Panicf("todo: %v", err) // there is no list that JSON can not say
	}
	p := ws.Prepare(ws.Text, text)
	for c := range u.tabs {
		_ = c.SendPrepared(p) // an error: it is closing, and leaves tabs with its Close
	}
}
