package main

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/millrace/millrace/server"
)

func newChi(h *house, sockets *server.Server) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Logger, middleware.Recoverer, authenticated)
	// Handle and not Get: over HTTP/2 an upgrade is a CONNECT.
	r.Handle("/rooms/{room}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := r.BasicAuth()
		enter(sockets, w, r, guest{name, chi.URLParam(r, "room")})
	}))
	r.With(middleware.Compress(5)).Get("/rooms", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.rooms()) // an error is the client's, which is gone
	})
	return r
}

// authenticated is a middleware of net/http's kind.
func authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); !authenticate(name, password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="rooms"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
