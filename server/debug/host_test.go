package debug_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
)

// TestCheckHost: an address, localhost and names that are allowed, in all their forms.
func TestCheckHost(t *testing.T) {
	t.Parallel()
	page := debug.CheckHost(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }),
		"admin.example", "Other.Example.")
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:9090": 200, "192.0.2.7:80": 200, "[::1]:9090": 200, "[::1]": 200, "[2001:db8::1]": 200,
		"localhost": 200, "LOCALHOST:9090": 200, "localhost.": 200, "": 200,
		"admin.example": 200, "Admin.Example:9090": 200, "admin.example.": 200, "other.example": 200,
		"attacker.example": 421, "attacker.example:9090": 421, "localhost.attacker.example": 421, "127.0.0.1.attacker.example": 421,
		"admin.example.attacker.example": 421, "xadmin.example": 421, "sub.admin.example": 421, "attacker": 421, "127.0.0.1@attacker.example": 421,
		"2130706433": 421, "*": 421, "[attacker.example]": 421, ".": 421, ":80": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		if body := w.Body.String(); w.Code != want || want == 421 && !strings.Contains(body, "--admin-host") {
			t.Errorf("Host %q: %d %q, want %d", host, w.Code, body, want)
		}
	}
}

// TestRebinding: a page of a name that points here now, for the browser of the very
// origin of this server, neither reads nor closes.
func TestRebinding(t *testing.T) {
	t.Parallel()
	addr, page := start(t)
	open(t, addr)
	id := look(t, page+"?format=json").Connections[0].ID
	_, _, body := get(t, page)
	token := tokenField.FindStringSubmatch(body)[1]
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		form := "id=" + id + "&token=" + token
		req, err := http.NewRequest(method, page, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "attacker.example"
		for name, value := range map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://attacker.example",
			"Sec-Fetch-Site": "same-origin", debug.ActionHeader: "close"} {
			req.Header.Set(name, value)
		}
		if status, _, body := do(t, req); status != http.StatusMisdirectedRequest || strings.Contains(body, id) {
			t.Errorf("%s: %d %s", method, status, body)
		}
	}
	if r := look(t, page+"?format=json"); len(r.Connections) != 1 || r.Connections[0].State != "open" {
		t.Errorf("after that: %+v", r)
	}
}

// TestUnreadAnswers: peers that ask for all connections, again and again, and read nothing
// keep nobody else from looking.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	addr, page := start(t)
	for range 200 {
		open(t, addr)
	}
	host, path, _ := strings.Cut(strings.TrimPrefix(page, "http://"), "/")
	for range 12 {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		// More than one, so that the answers fill what the kernel holds of them.
		request := fmt.Sprintf("GET /%s?n=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
		if _, err := io.WriteString(conn, strings.Repeat(request, 100)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond) // for them to be stuck: nothing tells
	for range 5 {
		if r := look(t, page+"?n=1000&format=json"); r.Total != 200 || len(r.Connections) != 200 {
			t.Fatalf("%d of %d", len(r.Connections), r.Total)
		}
	}
}

// TestDeadlines: on an http.Server without bounds a request still has them, and one with
// bounds keeps its own.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	engine, err := poller.New("")
	if err != nil {
		t.Fatal(err)
	}
	page := debug.Conns(&server.Server{Runtime: server.Runtime{Engine: engine}})
	for _, own := range []bool{false, true} {
		for method, want := range map[string]string{http.MethodGet: "write", http.MethodPost: "read write"} {
			set := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			web := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { page.ServeHTTP(set, r) }))
			if own {
				web.Config.ReadTimeout, web.Config.WriteTimeout, want = time.Minute, time.Minute, ""
			}
			web.Start()
			req, err := http.NewRequest(method, web.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			do(t, req)
			web.Close()
			if got := strings.Join(set.which, " "); got != want {
				t.Errorf("%s, bounds of its own: %v: set %q, want %q", method, own, got, want)
			}
		}
	}
}

// deadlines notes which are set.
type deadlines struct {
	*httptest.ResponseRecorder
	which []string
}

func (d *deadlines) SetReadDeadline(time.Time) error {
	d.which = append(d.which, "read")
	return nil
}

func (d *deadlines) SetWriteDeadline(time.Time) error {
	d.which = append(d.which, "write")
	return nil
}
