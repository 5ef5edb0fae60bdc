package server_test

import (
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// lastLine waits until the book has n lines with the event, and gives the last one.
func lastLine(t *testing.T, book *logBook, event string, n int) (line string) {
	t.Helper()
	eventually(t, "a line of "+event, func() bool { return book.count(event) == n })
	for l := range strings.Lines(book.String()) {
		if strings.Contains(l, event) {
			line = l
		}
	}
	return line
}

// routes is a hook with one path.
func routes(path string) func(*ws.Request) (server.Accept, error) {
	var mux server.Mux
	mux.Handle(path, echo{})
	return mux.Upgrade
}

// askedRefusals are requests that are refused and what the log says of them. The
// handshake's own are at other places: here is what makes up a line.
var askedRefusals = []struct {
	name, request string
	configure     func(*server.Server)
	words         []string
	lacks         string
}{
	{"no request", "no request\r\n", nil, []string{"status=400", `reason="malformed`}, "path="},
	{"TLS", "\x16\x03\x01\x02\x00\x01", nil, []string{"status=400", `reason="a TLS handshake`, `remedy="--tls-cert`}, "path="},
	{"a PROXY header", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", nil, []string{"status=400", `reason="a PROXY header`, `remedy="--proxy-protocol required`}, "path="},
	{"no upgrade", "GET /a?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n", nil, []string{"status=426", "method=GET", "path=/a\n"}, "secret"},
	{"no version", without("Sec-WebSocket-Version:"), nil, []string{"status=400", "method=GET", "path=/\n"}, "origin="},
	{
		"path", with("GET / ", "GET /nowhere "), func(s *server.Server) { s.Upgrade = routes("/echo") },
		[]string{"status=404", `reason="no WebSocket at this path"`, "path=/nowhere\n"}, "origin=",
	},
	{
		"long path", with("GET / ", "GET /"+strings.Repeat("a", 1000)+" "), func(s *server.Server) { s.Upgrade = routes("/echo") },
		[]string{"path=/" + strings.Repeat("a", 199) + "...\n"}, "",
	},
	{
		"origin", upgradeRequest("Origin: https://other.example"), nil,
		[]string{"status=403", `reason="origin not allowed"`, "path=/ ", "origin=https://other.example", `remedy="--origin (Server.Origin.Allow)"`}, "left_out",
	},
	{
		"origin that is none", upgradeRequest("Origin: a=\"b\" level=ERROR\t\x80"), nil,
		[]string{`origin="a=\"b\" level=ERROR\t\x80"`, `remedy="--origin * (Server.Origin.Allow)"`}, "\x80",
	},
	{
		"origin of an app", upgradeRequest("Origin: capacitor://localhost"), nil,
		[]string{"origin=capacitor://localhost", "host=example.com", `remedy="--origin (Server.Origin.Allow)"`}, "",
	},
	{
		"host", upgradeRequest(), func(s *server.Server) { s.Origin.Hosts = []string{"other.example"} },
		[]string{"status=421", `reason="not a host of this server"`, "host=example.com", `remedy="--host (Server.Origin.Hosts)"`}, "origin=",
	},
	{
		"Origin.Check", upgradeRequest("Origin: https://other.example"), func(s *server.Server) { s.Origin.Check = func(*ws.Request) bool { return false } },
		[]string{"status=403", "origin=https://other.example"}, "remedy",
	},
	{
		"behind a proxy", with("Host:", "X-Forwarded-For: 192.0.2.17\r\nHost:"), func(s *server.Server) {
			s.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
			s.Upgrade = routes("/echo")
		}, []string{"status=404", "remote=192.0.2.17 "}, "127.0.0.1",
	},
}

// TestRefusalsLogged: the log tells who was refused, for what and why, at debug
// level, or at info if so asked; on the server's own port, and in net/http.
func TestRefusalsLogged(t *testing.T) {
	t.Parallel()
	mounted := func(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
		srv := &server.Server{Runtime: server.Runtime{Engine: systemEngine(t)}}
		configure(srv)
		addr := mountAs(t, srv, srv.ServeHTTP)
		return func() *client { return dial(t, addr) }, srv
	}
	for _, r := range askedRefusals {
		for network, start := range map[string]starter{"simnet": onSimnet, "sockets": onSockets, "net/http": mounted} {
			if network == "net/http" && slices.Contains([]string{"no request", "origin that is none", "TLS", "a PROXY header"}, r.name) {
				continue // these are net/http's own
			}
			t.Run(r.name+" on "+network, func(t *testing.T) {
				t.Parallel()
				book := &logBook{}
				connect, srv := start(t, func(s *server.Server) {
					if s.Logger = book.loggerAt(slog.LevelDebug); r.configure != nil {
						r.configure(s)
					}
				})
				c := connect()
				c.send(r.request)
				if resp, _ := c.response(); resp.StatusCode < 400 {
					t.Fatal(resp.Status)
				}
				line := lastLine(t, book, "request refused", 1)
				for _, word := range append(r.words, "level=DEBUG", "remote=") {
					if !strings.Contains(line, word) {
						t.Errorf("%q lacks %q", line, word)
					}
				}
				if r.lacks != "" && strings.Contains(line, r.lacks) {
					t.Errorf("%q has %q", line, r.lacks)
				}
				if got := srv.Stats().Refused; got != 1 {
					t.Errorf("%d refused", got)
				}
			})
		}
	}
}

// TestDetailsBounded: whatever peers do, the log tells of few of them a second, and
// of how many it does not; with LogRefusals of all.
func TestDetailsBounded(t *testing.T) {
	t.Parallel()
	const refused, aSecond = 350, 100
	for _, all := range []bool{false, true} {
		book := &logBook{}
		n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
			s.Logger, s.LogRefusals = book.loggerAt(slog.LevelDebug), all
		})
		refuse := func() {
			c := dialSim(t, n, addr)
			c.send("no request\r\n")
			c.expectRefusal(400)
			_ = c.Close() // it is over
		}
		began := time.Now()
		for range refused {
			refuse()
		}
		most := aSecond * (int(time.Since(began)/time.Second) + 2)
		told := book.count("request refused")
		if all {
			if told != refused || srv.Stats().LogDropped != 0 {
				t.Errorf("told of %d, dropped %d", told, srv.Stats().LogDropped)
			}
			continue
		}
		if told > most || told < aSecond {
			t.Errorf("told of %d in %v", told, time.Since(began))
		}
		if leftOut := srv.Stats().LogDropped; leftOut != uint64(refused-told) {
			t.Errorf("told of %d, left out %d", told, leftOut)
		}
		time.Sleep(time.Second) // the next one is told
		refuse()
		sum := 0
		for _, n := range regexp.MustCompile(`left_out=(\d+)`).FindAllStringSubmatch(book.String(), -1) {
			leftOut, _ := strconv.Atoi(n[1]) // digits
			sum += leftOut
		}
		if sum != refused-told {
			t.Errorf("%d are said to be left out, want %d", sum, refused-told)
		}
	}
}

// TestFailuresLogged: at debug level the log tells of connections that failed, and
// not of those that were just closed.
func TestFailuresLogged(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		book := &logBook{}
		connect, _ := start(t, func(s *server.Server) {
			s.Logger, s.Limits.Message = book.loggerAt(slog.LevelDebug), 100
			s.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
				code, _ := strconv.Atoi(string(m.Payload)) // the tests send nothing else
				_ = c.Close(ws.Code(code), "r"+strings.Repeat("å", 100))
			})
		})
		failures := 0
		for _, f := range []struct {
			frame string
			code  uint16
			words string
		}{
			{rawFrame(fin|3, ""), 1002, "opcode"},
			{frame(opText, "\xff"), 1007, "UTF-8"},
			{frame(opText, strings.Repeat("x", 101)), 1009, "over the limit"},
			{frame(opText, "1008"), 1008, "reason=r" + strings.Repeat("å", 99) + "...\n"},
			{frame(opText, "1000"), 1000, ""},
			{frame(opText, "4000"), 4000, ""},
			{frame(opClose, closePayload(1002, "")), 1002, ""},
		} {
			c := connect().upgraded()
			c.send(f.frame)
			if op, payload := c.frame(); op != opClose || !strings.HasPrefix(payload, closePayload(f.code, "")) {
				t.Fatalf("frame %x %q, want a close frame with %d", op, payload, f.code)
			}
			_ = c.Close()
			if f.words == "" {
				continue
			}
			failures++
			line := lastLine(t, book, "connection failed", failures)
			for _, word := range []string{"level=DEBUG", "remote=", " code=" + strconv.Itoa(int(f.code)) + " ", f.words} {
				if !strings.Contains(line, word) {
					t.Errorf("%q lacks %q", line, word)
				}
			}
		}
		connect().upgraded()
		if got := book.count("connection failed"); got != failures {
			t.Errorf("%d failures are told, want %d", got, failures)
		}
	})
}

// slowEverywhere is slow in each callback: each returns once its loop is taken.
type slowEverywhere struct{ taken func() }

func (s slowEverywhere) Open(*server.Conn)                { s.taken() }
func (s slowEverywhere) Message(*server.Conn, ws.Message) { s.taken() }
func (s slowEverywhere) Ping(*server.Conn, []byte)        { s.taken() }
func (s slowEverywhere) Pong(*server.Conn, []byte)        { s.taken() }
func (s slowEverywhere) Close(*server.Conn, error)        { s.taken() }

// TestSlowCallbacksLogged: at debug level the log names each callback that was slow.
func TestSlowCallbacksLogged(t *testing.T) {
	t.Parallel()
	book := &logBook{}
	var srv *server.Server
	slow := slowEverywhere{func() {
		eventually(t, "a hand-over", func() bool { return srv.Stats().Workers.Held > 0 })
	}}
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		srv = s
		s.Runtime.Loops, s.Logger, s.Handler = 1, book.loggerAt(slog.LevelDebug), slow
		s.Upgrade = func(*ws.Request) (server.Accept, error) {
			slow.taken()
			return server.Accept{}, nil
		}
	})
	c := dialSim(t, n, addr).upgraded() // one turn
	for turn, step := range []struct{ callback, frame string }{
		{"Upgrade", ""},
		{"Message", frame(opText, "a") + frame(opText, "b")},
		{"Ping", frame(opPing, "")},
		{"Pong", frame(opPong, "")},
		{"Close", frame(opClose, closePayload(1000, ""))},
	} {
		// The turn before is told of before it is over.
		eventually(t, "no turn is slow", func() bool { return turn == 0 || srv.Stats().Workers.Held == 0 })
		c.send(step.frame)
		line := lastLine(t, book, "turn was slow", turn+1)
		for _, word := range []string{"level=DEBUG", "remote=", "callback=" + step.callback + " ", "took="} {
			if !strings.Contains(line, word) {
				t.Errorf("%s: %q lacks %q", step.callback, line, word)
			}
		}
	}
}
