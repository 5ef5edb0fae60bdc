package interop_test

import (
	"net/http"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// others serves a WebSocket with each of the other libraries.
func others(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/gorilla", func(w http.ResponseWriter, r *http.Request) {
		upgrader := gorilla.Upgrader{}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("gorilla: %v", err)
			return
		}
		defer func() { _ = conn.Close() }() // the client sees
		for {
			kind, payload, err := conn.ReadMessage()
			if err != nil {
				return
			}
			_ = conn.WriteMessage(kind, append([]byte("gorilla: "), payload...)) // the next read fails
		}
	})
	mux.HandleFunc("/coder", func(w http.ResponseWriter, r *http.Request) {
		conn, err := coder.Accept(w, r, nil)
		if err != nil {
			t.Errorf("coder: %v", err)
			return
		}
		defer func() { _ = conn.CloseNow() }() // as above
		for {
			kind, payload, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			_ = conn.Write(r.Context(), kind, append([]byte("coder: "), payload...))
		}
	})
	return mux
}

// TestUpgradesLeftToOthers: paths that an Upgrade hook leaves to HTTP may be those of other
// libraries, in the clear and over TLS; the server's own are beside them.
func TestUpgradesLeftToOthers(t *testing.T) {
	configure := func(s *server.Server) {
		ours := s.Upgrade
		s.HTTP = others(t)
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/echo" {
				return ours(r)
			}
			return server.Accept{}, server.ErrUseHTTP
		}
	}
	plain := newPeer(t)
	configure(plain.srv)
	plain.serve(t, "ws", plain.srv.Serve)
	secure, _ := startSecurePeer(t, configure)
	for name, p := range map[string]*peer{"plain": plain, "TLS": secure} {
		t.Run(name, func(t *testing.T) {
			for path, want := range map[string]string{"/gorilla": "gorilla: tea", "/coder": "coder: tea", "/echo": "tea"} {
				dialer := gorilla.Dialer{TLSClientConfig: unverified, HandshakeTimeout: patience}
				conn, _, err := dialer.Dial(p.url+path, nil)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				for range 3 {
					if err := conn.WriteMessage(gorilla.TextMessage, []byte("tea")); err != nil {
						t.Errorf("%s: %v", path, err)
					}
					if _, got, err := conn.ReadMessage(); string(got) != want || err != nil {
						t.Errorf("%s: %q, %v, want %q", path, got, err, want)
					}
				}
				_ = conn.Close() // all is said
			}
		})
	}
}
