package main

import (
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"net/http"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

const (
	sessionCookie   = "session"
	sessionLifetime = 12 * time.Hour
)

// codeLoggedOut is a close code of our own: the page shows the login, and does not
// come back by itself.
const codeLoggedOut ws.Code = 4401

// session is one login, and the value of each connection that was opened with its cookie.
type session struct {
	user *user
	ends time.Time
	over bool // logged out; guarded by app.mu
}

//go:embed page.html
var page []byte

// pages are the plain requests, on the same port. A form of another site can not log
// anybody in or out.
func (a *app) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // an error is the browser's, which is gone
	})
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /todos", a.show)
	return http.NewCrossOriginProtection().Handler(mux)
}

// admit decides on an upgrade request. It may block, so the session might as well be
// in a database: other connections do not wait. For the libraries of net/http it makes
// an *http.Request of r.
func (a *app) admit(r *ws.Request) (server.Accept, error) {
	s := a.sessionOf(r.HTTP(r.Context()))
	if s == nil {
		return server.Accept{}, &ws.Refusal{Status: http.StatusUnauthorized, Reason: "log in first"}
	}
	return server.Accept{Value: s}, nil
}

// sessionOf is the session of the request's cookie, nil if there is none. Plain
// requests and upgrades ask it.
func (a *app) sessionOf(r *http.Request) *session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[cookie.Value]
	if s == nil || time.Now().After(s.ends) {
		return nil
	}
	return s
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	u := a.users[r.PostFormValue("name")]
	// In earnest: a slow hash of the password, and a bound on attempts.
	if u == nil || subtle.ConstantTimeCompare([]byte(r.PostFormValue("password")), []byte("tea")) == 0 {
		http.Error(w, "Wrong name or password.", http.StatusUnauthorized)
		return
	}
	token := rand.Text() // 128 random bits: nobody guesses it
	a.mu.Lock()
	for old, s := range a.sessions {
		if time.Now().After(s.ends) {
			delete(a.sessions, old)
		}
	}
	a.sessions[token] = &session{user: u, ends: time.Now().Add(sessionLifetime)}
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", MaxAge: int(sessionLifetime / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, // and Secure, behind TLS
	})
	w.WriteHeader(http.StatusNoContent)
}

// logout ends all sessions of the person, and with them the connections.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	s := a.sessionOf(r)
	if s == nil {
		http.Error(w, "Not logged in.", http.StatusUnauthorized)
		return
	}
	a.mu.Lock()
	for token, other := range a.sessions {
		if other.user == s.user {
			other.over = true
			delete(a.sessions, token)
		}
	}
	for c := range s.user.tabs {
		_ = c.Close(codeLoggedOut, "logged out") // an error: it is closing already
	}
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
}

// show gives the list to a plain GET of the path where upgrades get a WebSocket.
func (a *app) show(w http.ResponseWriter, r *http.Request) {
	s := a.sessionOf(r)
	if s == nil {
		http.Error(w, "Not logged in.", http.StatusUnauthorized)
		return
	}
	a.mu.Lock()
	list := s.user.list()
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list) // an error is the client's, which is gone
}
