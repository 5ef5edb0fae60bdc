package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// post sends a form and gives the answer, whose body is read.
func post(t *testing.T, p *program.Program, path string, header http.Header, form url.Values) *http.Response {
	t.Helper()
	r, err := http.NewRequest("POST", "http://"+p.Addr+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header.Clone()
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// login gives the header with which to come back.
func login(t *testing.T, p *program.Program, name string) http.Header {
	t.Helper()
	resp := post(t, p, "/login", nil, url.Values{"name": {name}, "password": {"tea"}})
	if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 1 {
		t.Fatalf("login: %s, %v", resp.Status, resp.Cookies())
	}
	c := resp.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %v", c)
	}
	return http.Header{"Cookie": {c.Name + "=" + c.Value}}
}

func TestTabs(t *testing.T) {
	p := program.Start(t)
	ann, bob := login(t, p, "ann"), login(t, p, "bob")
	one, two, other := p.Dial("/todos", ann), p.Dial("/todos", ann), p.Dial("/todos", bob)
	one.Expect(`{"name":"ann","todos":[]}`)
	two.Expect(`{"name":"ann","todos":[]}`)
	other.Expect(`{"name":"bob","todos":[]}`)

	for _, step := range []struct{ command, want string }{
		{`{"do":"add","text":"tea"}`, `{"name":"ann","todos":[{"id":1,"text":"tea","done":false}]}`},
		{`{"do":"toggle","id":1}`, `{"name":"ann","todos":[{"id":1,"text":"tea","done":true}]}`},
		{`{"do":"remove","id":1}`, `{"name":"ann","todos":[]}`},
	} {
		one.SendText(step.command)
		one.Expect(step.want)
		two.Expect(step.want)
	}
	for _, wrong := range []string{`tea`, `{"do":"add"}`, `{"do":"toggle","id":7}`, `{"do":"sing"}`} {
		one.SendText(wrong)
		var got failure
		if err := json.Unmarshal([]byte(one.Receive()), &got); err != nil || got.Error == "" {
			t.Errorf("%s is answered with %+v, %v", wrong, got, err)
		}
	}

	if resp := post(t, p, "/logout", ann, nil); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %s", resp.Status)
	}
	one.ExpectClose(int(codeLoggedOut))
	two.ExpectClose(int(codeLoggedOut))
	p.ExpectRefusal("/todos", ann, http.StatusUnauthorized)

	other.SendText(`{"do":"add","text":"coffee"}`) // bob is still there
	other.Expect(`{"name":"bob","todos":[{"id":1,"text":"coffee","done":false}]}`)
	p.Signal()
	other.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}

func TestRefused(t *testing.T) {
	p := program.Start(t)
	p.ExpectRefusal("/todos", nil, http.StatusUnauthorized)
	p.ExpectRefusal("/todos", http.Header{"Cookie": {"session=guessed"}}, http.StatusUnauthorized)
	if resp := post(t, p, "/login", nil, url.Values{"name": {"ann"}, "password": {"milk"}}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong password: %s", resp.Status)
	}

	ann := login(t, p, "ann")
	ann.Set("Origin", "https://evil.example") // its page has made ann's browser come here
	p.ExpectRefusal("/todos", ann, http.StatusForbidden)
	if resp := post(t, p, "/logout", ann, nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a logout by another site's page: %s", resp.Status)
	}
	ann.Set("Origin", "http://"+p.Addr)
	c := p.Dial("/todos", ann)
	c.Expect(`{"name":"ann","todos":[]}`)
	p.Signal()
	c.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}

func TestPlain(t *testing.T) {
	p := program.Start(t)
	for _, tt := range []struct {
		path   string
		header http.Header
		status int
		want   string
	}{
		{"/", nil, http.StatusOK, string(page)},
		{"/todos", nil, http.StatusUnauthorized, "Not logged in.\n"},
		{"/todos", login(t, p, "bob"), http.StatusOK, `{"name":"bob","todos":[]}` + "\n"},
	} {
		r, err := http.NewRequest("GET", "http://"+p.Addr+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = tt.header
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read to its end
		if err != nil || resp.StatusCode != tt.status || string(body) != tt.want {
			t.Errorf("GET %s: %s, %q, %v; want %d, %q", tt.path, resp.Status, body, err, tt.status, tt.want)
		}
	}
	p.Stop()
}
