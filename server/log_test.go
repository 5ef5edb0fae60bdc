package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/asynclog"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// slowBook is a slog.Handler whose Handle does something first.
type slowBook struct {
	slog.Handler
	first func() error
}

func (s slowBook) Handle(ctx context.Context, r slog.Record) error {
	if err := s.first(); err != nil {
		return err
	}
	return s.Handler.Handle(ctx, r)
}

// logTo is a logger into book whose handler does something first.
func logTo(book *logBook, first func() error) *slog.Logger {
	return slog.New(slowBook{slog.NewTextHandler(book, nil), first}) // not by a queue of the book's own, which may be full
}

// stuckLog is a logger whose handler does not return before release is closed, as it
// is when the test ends.
func stuckLog(t *testing.T, book *logBook) (l *slog.Logger, release chan struct{}) {
	release = make(chan struct{})
	t.Cleanup(func() {
		select {
		case <-release:
		default:
			close(release)
		}
		noLogGoroutine(t)
	})
	return logTo(book, func() error { <-release; return nil }), release
}

// noLogGoroutine waits until no goroutine passes log records on.
func noLogGoroutine(t *testing.T) {
	t.Helper()
	eventually(t, "the log's goroutine ends", func() bool {
		stacks := make([]byte, 1<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("asynclog.(*queue).run"))
	})
}

// panicOnDemand echoes, and panics for the message "panic".
func panicOnDemand(c *server.Conn, m ws.Message) {
	if string(m.Payload) == "panic" {
		panic("as asked")
	}
	_ = c.Send(m.Opcode, m.Payload) // closing: the test sees
}

// floodLog has the server log one line more than its queue holds, and one that is
// just being written, and times more.
func floodLog(connect func() *client, more int) {
	for range 1 + asynclog.Capacity + more {
		c := connect()
		c.send("no request\r\n")
		c.expectRefusal(400)
		_ = c.Close() // it is over
	}
}

// TestLogStuck: a log whose handler does not return holds up no loop; what does not
// fit is counted, and told when the handler goes on.
func TestLogStuck(t *testing.T) {
	onBoth(t, func(t *testing.T, start starter) {
		const panics, more = 16, 30
		book := &logBook{}
		var release chan struct{}
		connect, srv := start(t, func(srv *server.Server) {
			srv.Runtime.Loops, srv.LogRefusals, srv.Keepalive.Interval = 2, true, -1
			srv.Logger, release = stuckLog(t, book)
			srv.Handler = onlyMessage(panicOnDemand)
		})
		var others []*client
		for range 8 {
			others = append(others, connect().upgraded())
		}
		echoed := func(text string) {
			t.Helper()
			for _, c := range others {
				c.send(frame(opText, text))
				c.expect(opText, text)
			}
		}
		floodLog(connect, more)
		echoed("the queue is full")
		for i := range panics { // the leaders of both loops log them, as errors
			c := connect().upgraded()
			c.send(frame(opText, "panic"))
			c.expectClose(1011)
			echoed(fmt.Sprint("panic ", i))
		}
		if got := srv.Stats().LogDropped; got != more {
			t.Errorf("%d records dropped, want %d", got, more)
		}
		close(release)
		eventually(t, "all that fits is written", func() bool {
			return book.count("request refused") == 1+asynclog.Capacity && book.count("handler panicked") == panics
		})
		if text := book.String(); strings.Count(text, fmt.Sprintf(`level=WARN msg="log records dropped" records=%d`, more)) != 1 {
			t.Errorf("the drops are not told:\n%.2000s", text[max(0, len(text)-2000):])
		}
	})
}

// TestLogStuckWatchdog: the watchdog, which logs that all workers are held, is not
// held up by the log itself.
func TestLogStuckWatchdog(t *testing.T) {
	book, s := &logBook{}, newStaller()
	var release chan struct{}
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		twoWorkers(srv)
		srv.Logger, release = stuckLog(t, book)
		srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) { holdAllWorkers(s, c, m) })
	})
	hold1, hold2 := dialSim(t, n, addr).upgraded(), dialSim(t, n, addr).upgraded()
	s.stall(hold1, hold2)
	eventually(t, "the watchdog goes on", func() bool { return srv.Stats().Waits > 100 })
	close(s.release)
	hold1.expect(opText, "hold")
	hold2.expect(opText, "hold")
	close(release)
	eventually(t, "the shortage is logged", func() bool { return book.count("all workers held by slow handlers") > 0 })
}

// TestLogStuckEnd: the server ends in its time, however it is asked to and whatever
// the log does; the log's goroutine ends when the handler returns.
func TestLogStuckEnd(t *testing.T) {
	for name, end := range map[string]func(*server.Server) error{
		"Close":    (*server.Server).Close,
		"Shutdown": func(srv *server.Server) error { return srv.Shutdown(context.Background()) },
		"Drain": func(srv *server.Server) error {
			return srv.Drain(context.Background(), server.DrainOptions{Timeout: time.Hour})
		},
	} {
		t.Run(name, func(t *testing.T) {
			book := &logBook{}
			n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
				srv.Logger, _ = stuckLog(t, book)
				srv.LogRefusals = true
			})
			floodLog(func() *client { return dialSim(t, n, addr) }, 1)
			c := dialSim(t, n, addr).upgraded()
			ended := make(chan error, 1)
			go func() { ended <- end(srv) }()
			if op, payload := c.frame(); op != opClose || !strings.HasPrefix(payload, closePayload(1001, "")) {
				t.Errorf("frame %x %q, want a close frame with 1001", op, payload)
			}
			_ = c.Close()
			expectDrained(t, ended, nil)
			if got := srv.DrainProgress().Phase; got != server.PhaseStopped {
				t.Errorf("phase %v", got)
			}
			closeServer(t, srv) // once more, as many do
		})
	}
}

// TestLogSlow: a handler that is slow gets all records, in order, and the end waits
// for it.
func TestLogSlow(t *testing.T) {
	book := &logBook{}
	const refused = 100
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		srv.Logger = logTo(book, func() error { time.Sleep(time.Millisecond); return nil })
		srv.LogRefusals = true
	})
	for i := range refused {
		c := dialSim(t, n, addr)
		c.send(strings.Replace(without("Upgrade:"), "GET /", fmt.Sprint("GET /", i), 1))
		c.expectRefusal(426)
		_ = c.Close() // it is over
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	text := book.String()
	for i, path := range regexp.MustCompile(` path=/(\d+)\n`).FindAllStringSubmatch(text, -1) {
		if path[1] != strconv.Itoa(i) {
			t.Fatalf("line %d is of request %s", i, path[1])
		}
	}
	if got := strings.Count(text, "request refused"); got != refused || !strings.Contains(text, "drain over") {
		t.Errorf("%d refusals when Shutdown returned, want %d and the end of the drain", got, refused)
	}
	if got := srv.Stats().LogDropped; got != 0 {
		t.Errorf("%d dropped", got)
	}
}

// TestLogBroken: a handler that panics or fails is survived, and each record that it
// loses is counted.
func TestLogBroken(t *testing.T) {
	for name, fail := range map[string]func() error{
		"panic": func() error { panic("the log is broken") },
		"error": func() error { return io.ErrClosedPipe },
	} {
		t.Run(name, func(t *testing.T) {
			n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
				srv.Logger = logTo(&logBook{}, fail)
				srv.Handler = onlyMessage(panicOnDemand)
			})
			const panics = 5
			for range panics {
				c := dialSim(t, n, addr).upgraded()
				c.send(frame(opText, "panic"))
				c.expectClose(1011)
			}
			eventually(t, "the records are counted", func() bool { return srv.Stats().LogDropped == panics })
			c := dialSim(t, n, addr).upgraded()
			c.send(frame(opText, "and on"))
			c.expect(opText, "and on")
		})
	}
}

// TestLogOfHTTP: what net/http's part logs goes the same way.
func TestLogOfHTTP(t *testing.T) {
	book := &logBook{}
	var release chan struct{}
	addr, _ := startServer(t, func(srv *server.Server) {
		srv.Logger, release = stuckLog(t, book)
		srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic("a page's") })
	})
	for range 3 {
		c := dial(t, addr)
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.expectEnd()
	}
	close(release)
	eventually(t, "the panics are logged", func() bool { return book.count("a page's") == 3 })
}

// TestLogWithoutStart: a server that never started, or has ended, logs as well, and
// nothing is left of it.
func TestLogWithoutStart(t *testing.T) {
	book := &logBook{}
	srv := &server.Server{LogRefusals: true, Logger: logTo(book, func() error { return nil })}
	closeServer(t, srv)
	addr := mountAs(t, srv, srv.ServeHTTP)
	c := dial(t, addr)
	c.send(upgradeRequest())
	c.expectRefusal(503)
	eventually(t, "the refusal is logged", func() bool { return book.count("request refused") == 1 })
	noLogGoroutine(t)
}

// TestLogByDefault: a server without a Logger logs to slog's default, whichever it is
// by then.
func TestLogByDefault(t *testing.T) {
	before, flags := slog.Default(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(os.Stderr) // SetDefault has redirected it
		log.SetFlags(flags)
	})
	n, addr, _ := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Logger, srv.LogRefusals = nil, true })
	for range 2 {
		book := &logBook{}
		slog.SetDefault(book.logger())
		c := dialSim(t, n, addr)
		c.send("no request\r\n")
		c.expectRefusal(400)
		eventually(t, "it is logged", func() bool { return book.count("request refused") == 1 })
	}
}
