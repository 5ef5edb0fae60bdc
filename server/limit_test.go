package server_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// limitRow is a row of the table in docs/limits.md: field and what it is counted as.
var limitRow = regexp.MustCompile("(?m)^\\|[^|]*\\|[^|]*\\| (?:`([\\w.]+)`)?[^|]*\\|[^|]*\\| (?:`([\\w.]+)`)? ?\\|$")

// TestLimitsInDocs: the table of limits names every Limit, no other, and only fields that
// a Server has.
func TestLimitsInDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	listed := map[string]bool{}
	for _, row := range limitRow.FindAllStringSubmatch(string(page), -1) {
		group, name, nested := strings.Cut(row[1], ".")
		field, ok := reflect.TypeFor[server.Server]().FieldByName(group)
		if ok && nested {
			_, ok = field.Type.FieldByName(name)
		}
		if row[1] != "" && !ok {
			t.Errorf("docs/limits.md names the field %s, which a Server does not have", row[1])
		}
		if ok {
			fields++
		}
		if name, ok := strings.CutPrefix(row[2], "ServerStats."); ok {
			if _, ok := reflect.TypeFor[server.ServerStats]().FieldByName(name); !ok {
				t.Errorf("docs/limits.md names %s, which is none", row[2])
			}
		} else if row[2] != "" {
			listed[row[2]] = true
		}
	}
	for limit := range server.NumLimits {
		if name := limit.String(); !listed[name] {
			t.Errorf("docs/limits.md does not say what is counted as %q", name)
		} else {
			delete(listed, name)
		}
	}
	for name := range listed {
		t.Errorf("docs/limits.md says that something is counted as %q, which is no Limit", name)
	}
	if fields < 30 {
		t.Errorf("only %d fields found", fields)
	}
	if got := server.NumLimits.String(); got != "unknown" {
		t.Errorf("a Limit that is none is called %q", got)
	}
}

// TestLimitsLogged: a limit that is met all the time is logged once in ten
// seconds, with how often it was, and each limit by itself.
func TestLimitsLogged(t *testing.T) {
	t.Parallel()
	var book logBook
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.Conns, s.Limits.Message, s.Logger = 1, 10, book.logger()
		s.Keepalive.Interval = -1
	})
	inside := dialSim(t, n, addr).upgraded()
	meet := func(times int) {
		for range times {
			c := dialSim(t, n, addr)
			c.send(upgradeRequest())
			c.expectBusy()
		}
	}
	for round := range 3 {
		meet(100)
		idle(t, n)
		if got := book.count("limit=conns"); got != round+1 {
			t.Fatalf("logged %d times after %d periods", got, round+1)
		}
		n.Advance(10 * time.Second)
	}
	inside.send(frame(opText, strings.Repeat("x", 11)))
	inside.expectClose(1009)
	idle(t, n)
	if book.count("limit=message times=1 ") != 1 {
		t.Error("the other limit was not logged")
	}
	if book.count("times=100 since_start=") == 0 {
		t.Error("how often is not logged")
	}
	hits(t, srv, server.LimitConns, 300)
}

// TestQueueLimitLogged: messages that DropNewest drops are no warning, a connection that
// a full queue closes is one.
func TestQueueLimitLogged(t *testing.T) {
	t.Parallel()
	var book logBook
	n, addr, _ := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Queue.Max, s.Queue.Policy, s.Logger = 1000, server.DropNewest, book.logger()
		s.Keepalive.Interval = -1
		s.Upgrade = func(r *ws.Request) (server.Accept, error) {
			if r.Path() == "/close" {
				return server.Accept{Limits: &server.ConnLimits{Queue: server.Queue{Policy: server.CloseWhenFull}}}, nil
			}
			return server.Accept{}, nil
		}
		s.Handler = handler{open: func(c *server.Conn) { _ = c.SendBinary(make([]byte, 2000)) }} // the log tells
	})
	for _, test := range []struct{ path, level string }{{"/drop", "INFO"}, {"/close", "WARN"}, {"/drop", "INFO"}} {
		before := book.count("level=" + test.level + ` msg="limit met" limit=queue times=1 `)
		c := dialSim(t, n, addr)
		c.send(strings.Replace(upgradeRequest(), "GET / ", "GET "+test.path+" ", 1))
		c.expectSwitch()
		idle(t, n)
		if got := book.count("level=" + test.level + ` msg="limit met" limit=queue times=1 `); got != before+1 {
			t.Errorf("%s: not logged as %s:\n%s", test.path, test.level, book.String())
		}
		n.Advance(11 * time.Second)
	}
}
