package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// expect reads events until one is of this kind, and gives it.
func expect(t *testing.T, c *program.Client, kind string) event {
	t.Helper()
	for {
		var e event
		if err := json.Unmarshal([]byte(c.Receive()), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			return e
		}
	}
}

func TestRoom(t *testing.T) {
	p := program.Start(t)
	ann := p.Dial("/rooms/hall?name=ann", nil)
	expect(t, ann, "join") // her own
	bob := p.Dial("/rooms/hall?name=bob", nil)
	if e := expect(t, bob, "welcome"); !slices.Equal(e.Names, []string{"ann", "bob"}) {
		t.Errorf("bob is told of %q", e.Names)
	}
	if e := expect(t, ann, "join"); e.Name != "bob" {
		t.Errorf("ann is told that %q has come", e.Name)
	}
	elsewhere := p.Dial("/rooms/attic?name=ann", nil) // another room, the same name
	expect(t, elsewhere, "join")

	bob.SendText(`{"text":"<b>tea</b>"}`)
	for _, c := range []*program.Client{ann, bob} {
		if e := expect(t, c, "say"); e.Name != "bob" || e.Text != "<b>tea</b>" || e.At.IsZero() {
			t.Errorf("received %+v", e)
		}
	}
	if err := bob.Close(); err != nil { // without a close frame
		t.Fatal(err)
	}
	if e := expect(t, ann, "leave"); e.Name != "bob" {
		t.Errorf("ann is told that %q has left", e.Name)
	}

	p.Signal()
	ann.ExpectClose(websocket.CloseGoingAway)
	elsewhere.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}

func TestRefused(t *testing.T) {
	p := program.Start(t)
	p.ExpectRefusal("/rooms/hall", nil, http.StatusBadRequest)
	p.ExpectRefusal("/rooms/hall?name="+strings.Repeat("a", 41), nil, http.StatusBadRequest)
	p.ExpectRefusal("/elsewhere?name=ann", nil, http.StatusNotFound)
	p.ExpectRefusal("/rooms/hall?name=ann", http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden)

	ann := p.Dial("/rooms/hall?name=ann", nil)
	expect(t, ann, "join")
	p.Dial("/rooms/hall?name=ann", nil).ExpectClose(int(codeNameTaken))
	ann.SendText("no JSON")
	ann.ExpectClose(websocket.CloseInvalidFramePayloadData)
	p.Stop()
}

func TestPage(t *testing.T) {
	p := program.Start(t)
	resp, err := http.Get("http://" + p.Addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != string(page) {
		t.Errorf("%s, %v, %d bytes", resp.Status, err, len(body))
	}
	p.Stop()
}

// TestHistory is on a network in memory, where a test need not know when the others
// have heard: the way to test one's own handlers.
func TestHistory(t *testing.T) {
	srv := newServer("")
	srv.Limits.MessageRate, srv.Limits.MessageBurst = 0, 0 // the test types fast
	s := servertest.Start(t, srv)
	ann := s.Connect("/rooms/hall?name=ann")
	for i := range historyLength + 1 {
		ann.SendJSON(said{fmt.Sprint(i)})
	}
	s.WaitIdle()
	bob := s.Connect("/rooms/hall?name=bob")
	var e event
	bob.ReceiveJSON(&e) // welcome
	for i := range historyLength {
		if bob.ReceiveJSON(&e); e.Kind != "say" || e.Text != fmt.Sprint(i+1) {
			t.Fatalf("message %d of the history is %+v", i, e)
		}
	}
	ann.Close(ws.CodeNormal, "")
	bob.Close(ws.CodeNormal, "")
	s.WaitIdle()
	cat := s.Connect("/rooms/hall?name=cat") // the room was empty, and is a new one
	cat.ReceiveJSON(&e)
	if cat.ReceiveJSON(&e); e.Kind != "join" || e.Name != "cat" {
		t.Errorf("received %+v", e)
	}
}

// TestTooSlow: a member that reads nothing is closed, and the others go on.
func TestTooSlow(t *testing.T) {
	srv := newServer("")
	srv.Limits.MessageRate, srv.Limits.MessageBurst = 0, 0 // the test types fast
	s := servertest.Start(t, srv)
	ann, bob := s.Connect("/rooms/hall?name=ann"), s.Connect("/rooms/hall?name=bob")
	_ = bob // reads nothing
	var e event
	for i := 0; e.Kind != "leave"; i++ {
		if i == 10_000 {
			t.Fatal("bob is still there")
		}
		ann.SendJSON(said{strings.Repeat("a", 1000)})
		for ann.ReceiveJSON(&e); e.Kind != "say" && e.Kind != "leave"; ann.ReceiveJSON(&e) {
		}
	}
	if e.Name != "bob" {
		t.Errorf("%q has left", e.Name)
	}
}
