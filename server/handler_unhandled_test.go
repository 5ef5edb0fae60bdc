package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

const ignored = `level=WARN msg="messages are ignored"`

// TestUnconnectedMux: a server that was not told of its Mux says at once that nobody
// will get what its WebSockets bring, and one that was does not.
func TestUnconnectedMux(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configure func(s *server.Server, mux *server.Mux)
		warnings  int
	}{
		"forgotten":  {func(*server.Server, *server.Mux) {}, 1},
		"connected":  {func(s *server.Server, mux *server.Mux) { s.Upgrade = mux.Upgrade }, 0},
		"not needed": {func(s *server.Server, _ *server.Mux) { s.Handler = echo{} }, 0},
		"hook without handler": {func(s *server.Server, _ *server.Mux) {
			s.Upgrade = func(*ws.Request) (server.Accept, error) { return server.Accept{}, nil }
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := &logBook{}
			n := simnet.New(simnet.Config{})
			s := &server.Server{Runtime: server.Runtime{Engine: n}, Logger: book.logger()}
			var mux server.Mux
			mux.Handle("/", echo{})
			test.configure(s, &mux)
			ln, err := s.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(ln) }()
			eventually(t, "ready", s.Ready)
			if got := book.count(ignored); got != test.warnings {
				t.Errorf("%d warnings at the start, want %d: %s", got, test.warnings, book)
			}
			for range 3 {
				c := dialSim(t, n, ln.Addr().String()).upgraded()
				c.send(frame(opClose, ""))
			}
			idle(t, n)
			want := test.warnings
			if name == "hook without handler" {
				want = 1
			}
			if got := book.count(ignored); got != want || want == 1 && !strings.Contains(book.String(), "Server.Upgrade = mux.Upgrade") {
				t.Errorf("%d warnings after connections, want %d: %s", got, want, book)
			}
			closeServer(t, s)
			<-served
		})
	}
}

// TestAcceptWithoutHandler: mounted, each Accept may bring its handler. One that
// brings none is told, once.
func TestAcceptWithoutHandler(t *testing.T) {
	t.Parallel()
	for want, accept := range []server.Accept{{Handler: echo{}}, {}} {
		book := &logBook{}
		s := &server.Server{Runtime: server.Runtime{Engine: systemEngine(t)}, Logger: book.logger()}
		addr := mountAs(t, s, func(w http.ResponseWriter, r *http.Request) { _ = s.Accept(w, r, accept) })
		for range 2 {
			dial(t, addr).upgraded()
		}
		if got := book.count(ignored); got != want {
			t.Errorf("%+v: %d warnings, want %d", accept, got, want)
		}
	}
}

// TestMuxTooLate: what is registered after the first request panics, since goroutines
// may be asking then; and a Mux without patterns says why it refuses.
func TestMuxTooLate(t *testing.T) {
	t.Parallel()
	var mux server.Mux
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) { s.Upgrade = mux.Upgrade })
	c := dialSim(t, n, addr)
	c.send(upgradeRequest())
	if resp, text := c.response(); resp.StatusCode != 404 || !strings.Contains(text, "the server's Mux has no patterns") {
		t.Errorf("%s, %q", resp.Status, text)
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), `"/late" is registered after the first request`) {
			t.Errorf("panic: %v", p)
		}
	}()
	mux.Handle("/late", echo{})
}
