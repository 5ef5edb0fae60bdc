package servertest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// echo sends back what it gets.
var echo = server.MessageFunc(func(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) }) // open, or the test sees

func TestMessages(t *testing.T) {
	c := servertest.Start(t, &server.Server{Handler: echo}).Connect("/")
	c.SendText("tea")
	if got := c.ReceiveText(); got != "tea" {
		t.Errorf("%q", got)
	}
	large := strings.Repeat("x", 300_000) // more than a window
	c.SendBinary([]byte(large))
	if m := c.Receive(); m.Opcode != ws.Binary || string(m.Payload) != large {
		t.Errorf("%v of %d bytes", m.Opcode, len(m.Payload))
	}
	c.SendJSON(map[string]int{"a": 1})
	var got map[string]int
	if c.ReceiveJSON(&got); got["a"] != 1 {
		t.Errorf("%v", got)
	}
	c.ExpectNothing()
	c.Send(ws.Ping, []byte("p"))
	c.ExpectNothing() // the pong is not the test's
	if end := c.Close(ws.CodeNormal, "bye"); end.Code != ws.CodeNormal || !end.Remote {
		t.Errorf("%v", end)
	}
}

// TestRequests: requests of all kinds get to the hook, and refusals to the test.
func TestRequests(t *testing.T) {
	mux := &server.Mux{}
	mux.HandleUpgrade("/rooms/{room}", func(r *ws.Request) (server.Accept, error) {
		if r.Header("Authorization") == "" {
			return server.Accept{}, &ws.Refusal{Status: http.StatusUnauthorized, Reason: "who are you?"}
		}
		return server.Accept{Value: r.PathValue("room") + " " + r.Host() + " " + r.Query().Get("q")}, nil
	})
	s := servertest.Start(t, &server.Server{
		Upgrade: mux.Upgrade, Subprotocols: []string{"a", "b"},
		Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) {
			where, _ := server.Value[string](c)
			_ = c.SendText(where) // the test sees
		}},
	})
	var refused *ws.RefusedError
	if _, err := s.Upgrade(&ws.ClientRequest{Target: "/rooms/hall"}); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("without authorization: %v", err)
	}
	c, err := s.Upgrade(&ws.ClientRequest{
		Target: "/rooms/hall?q=1", Host: "chat.example", Subprotocol: "b", Header: []string{"Authorization: Bearer x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ReceiveText(); got != "hall chat.example 1" || c.Subprotocol() != "b" {
		t.Errorf("%q, subprotocol %q", got, c.Subprotocol())
	}
}

// TestTimeoutsComeByAdvance: timeouts and pings come when the clock says so.
func TestTimeoutsComeByAdvance(t *testing.T) {
	closed := make(chan error, 1)
	s := servertest.Start(t, &server.Server{
		Timeouts: server.Timeouts{Idle: time.Minute}, Keepalive: server.Keepalive{Interval: 10 * time.Second},
		Handler: server.HandlerFuncs{OnClose: func(_ *server.Conn, err error) { closed <- err }},
	})
	c := s.Connect("/")
	for range 5 {
		s.Advance(10 * time.Second)
		c.ExpectNothing() // pings are answered
	}
	s.Advance(20 * time.Second)
	if end := c.ReceiveClose(); end.Code != ws.CodeGoingAway {
		t.Errorf("after the idle timeout: %v", end)
	}
	var end *ws.CloseError
	if err := <-closed; !errors.As(err, &end) || end.Code != ws.CodeGoingAway {
		t.Errorf("the handler got %v", err)
	}
	if s.Stats().Pings == 0 {
		t.Error("no ping was sent")
	}
}

// TestEnds: how a connection ended is told, with a close frame and without.
func TestEnds(t *testing.T) {
	s := servertest.Start(t, &server.Server{Handler: server.MessageFunc(func(c *server.Conn, m ws.Message) {
		if string(m.Payload) == "now" {
			c.CloseNow()
			return
		}
		_ = c.SendText("unread")
		_ = c.Close(4001, "enough") // both open
	})})
	c := s.Connect("/")
	c.SendText("close")
	if end := c.ReceiveClose(); end.Code != 4001 || end.Reason != "enough" || !end.Remote {
		t.Errorf("%v", end)
	}
	c = s.Connect("/")
	c.SendText("now")
	if end := c.ReceiveClose(); end.Code != ws.CodeAbnormal || end.Remote {
		t.Errorf("%v", end)
	}
	c = s.Connect("/")
	c.Abort()
	s.WaitIdle()
	if open := s.Stats().Open; open != 0 {
		t.Errorf("%d connections are open", open)
	}
}

// TestSlowHandler: WaitIdle waits for handlers that have left their loop.
func TestSlowHandler(t *testing.T) {
	done := false
	s := servertest.Start(t, &server.Server{Handler: server.MessageFunc(func(*server.Conn, ws.Message) {
		time.Sleep(50 * time.Millisecond)
		done = true
	})})
	s.Connect("/").SendText("a")
	if s.WaitIdle(); !done {
		t.Error("the handler is not done")
	}
}

// TestDebug: Start has mistakes of handlers shown.
func TestDebug(t *testing.T) {
	s := servertest.Start(t, &server.Server{Handler: server.MessageFunc(func(c *server.Conn, _ ws.Message) {
		if err := c.SendText("\xff"); !errors.Is(err, server.ErrNotUTF8) {
			t.Errorf("a text that is not UTF-8: %v", err)
		}
	})})
	c := s.Connect("/")
	c.SendText("a")
	c.ExpectNothing()
}

// TestHTTP: plain requests get to Server.HTTP.
func TestHTTP(t *testing.T) {
	s := servertest.Start(t, &server.Server{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+r.URL.Path) // the test sees
	})})
	for range 2 {
		response, err := s.HTTP().Get("http://pages.example/index")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(body) != "pages.example/index" {
			t.Errorf("%q, %v", body, err)
		}
	}
}

// TestFailures: what the server does wrong fails the test that uses this package.
func TestFailures(t *testing.T) {
	s := servertest.Start(t, &server.Server{Handler: server.MessageFunc(func(c *server.Conn, m ws.Message) {
		switch string(m.Payload) {
		case "close":
			_ = c.Close(4000, "")
		default:
			_ = c.SendBinary(m.Payload)
		}
	})})
	for name, misuse := range map[string]func(*failing, *servertest.Client){
		"a message where there is none": func(_ *failing, c *servertest.Client) { c.SendText("close"); c.Receive() },
		"text where it is binary":       func(_ *failing, c *servertest.Client) { c.SendText("a"); c.ReceiveText() },
		"nothing where there is some":   func(_ *failing, c *servertest.Client) { c.SendText("a"); c.ExpectNothing() },
		"JSON where there is none":      func(_ *failing, c *servertest.Client) { c.SendText("{"); c.ReceiveJSON(new(int)) },
		"an engine of its own": func(f *failing, _ *servertest.Client) {
			servertest.Start(f, &server.Server{Runtime: server.Runtime{Engine: s.Network}})
		},
	} {
		f := &failing{TB: t}
		c := servertest.Misused(f, s)
		f.run(func() { misuse(f, c) })
		if f.message == "" {
			t.Errorf("%s: the test goes on", name)
		}
	}
}

// failing is a test that notes how it fails.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Fatalf(format string, args ...any) { f.fail(format) }
func (f *failing) Fatal(args ...any)                 { f.fail("fatal") }

func (f *failing) fail(message string) {
	f.message = message
	panic(f)
}

func (f *failing) run(test func()) {
	defer func() {
		if p := recover(); p != nil && p != any(f) {
			panic(p)
		}
	}()
	test()
}
