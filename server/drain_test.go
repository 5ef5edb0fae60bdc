package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// beginDrain drains in the background, and waits until all loops know of it.
func beginDrain(t *testing.T, srv *server.Server, o server.DrainOptions) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	go func() { done <- srv.Drain(context.Background(), o) }()
	want := server.PhaseDraining
	if o.Delay > 0 {
		want = server.PhaseUnready
	}
	eventually(t, want.String(), func() bool { return srv.DrainProgress().Phase >= want })
	return done
}

func expectDrained(t *testing.T, done chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("Drain: %v, want %v", err, want)
		}
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		t.Fatalf("Drain does not return:\n%s", stacks[:runtime.Stack(stacks, true)])
	}
}

// expectProgress compares all but the counts of net/http.
func expectProgress(t *testing.T, srv *server.Server, want server.DrainProgress) {
	t.Helper()
	if got := srv.DrainProgress(); got != want {
		t.Errorf("progress %+v, want %+v", got, want)
	}
}

// told is which of the clients have something to read: a close frame, for a
// client that was upgraded and sent nothing.
func told(clients []*client) (indices []int) {
	for i, c := range clients {
		if c.Conn.(*simnet.Conn).Buffered() > 0 {
			indices = append(indices, i)
		}
	}
	return indices
}

// quiet keeps a server from doing anything by itself while the clock moves.
func quiet(srv *server.Server) {
	srv.Keepalive.Interval = -1
	srv.Timeouts.Close = time.Hour
}

func connectSim(t *testing.T, n *simnet.Network, addr string, count int) (clients []*client) {
	t.Helper()
	for range count {
		clients = append(clients, dialSim(t, n, addr).upgraded())
	}
	return clients
}

// TestDrainPace: two loops with a hundred connections each, at a hundred a second
// in all: one of each loop in each 20 ms, and when within them is chance.
func TestDrainPace(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		quiet(srv)
		srv.Runtime.Loops = 2
	})
	clients := connectSim(t, n, addr, 200)
	done := beginDrain(t, srv, server.DrainOptions{Rate: 100})
	idle(t, n)
	const step = 20 // ms
	var moments []int
	for ms := 1; ms <= 2000; ms++ {
		before := len(told(clients))
		n.Advance(time.Millisecond)
		idle(t, n)
		now := len(told(clients))
		for range now - before {
			moments = append(moments, (ms-1)%step)
		}
		if low, high := 2*(ms/step), 2*((ms+step-1)/step); now < low || now > high {
			t.Fatalf("after %d ms %d are closed, want %d to %d", ms, now, low, high)
		}
	}
	slices.Sort(moments)
	if different := len(slices.Compact(slices.Clone(moments))); different < step*2/3 || moments[100] < 5 || moments[100] > 15 {
		t.Errorf("moments within the steps of %d ms, sorted: %v: want all kinds", step, moments)
	}
	expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseDraining, Left: 200})
	for _, c := range clients {
		c.send(frame(opClose, closePayload(1001, "")))
		c.expectClose(1001)
	}
	expectDrained(t, done, nil)
	expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseStopped, Closed: 200})
}

// TestDrainScatters: clients that came one after another do not go so.
func TestDrainScatters(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		quiet(srv)
		srv.Runtime.Loops = 1
	})
	clients := connectSim(t, n, addr, 100)
	beginDrain(t, srv, server.DrainOptions{Rate: 100})
	idle(t, n)
	var order []int // of the clients that are told, by the time
	for range 100 {
		n.Advance(10 * time.Millisecond)
		idle(t, n)
		for _, i := range told(clients) {
			if !slices.Contains(order, i) {
				order = append(order, i)
			}
		}
	}
	neighbours := 0
	for i := range order[1:] {
		if d := order[i+1] - order[i]; d == 1 || d == -1 {
			neighbours++
		}
	}
	if len(order) != 100 || neighbours > 20 {
		t.Errorf("%d told, %d of them right after their neighbour: %v", len(order), neighbours, order)
	}
}

// TestDrainAllAtOnce: without a rate more than one round's worth goes without the
// clock moving, those of a table of several chunks with holes too.
func TestDrainAllAtOnce(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		quiet(srv)
		srv.Runtime.Loops = 1
	})
	clients := connectSim(t, n, addr, 5000)
	for i, c := range clients {
		if i%3 == 0 {
			c.reset()
		}
	}
	eventually(t, "the reset ones to be gone", func() bool { return srv.Stats().Open == 5000-1667 }) // a slow turn outlasts idle
	done := beginDrain(t, srv, server.DrainOptions{Code: ws.CodeServiceRestart, Reason: "back soon"})
	for i, c := range clients {
		if i%3 != 0 {
			c.expect(opClose, closePayload(1012, "back soon"))
			_ = c.Close()
		}
	}
	expectDrained(t, done, nil)
	expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseStopped, Closed: 5000 - 1667})
}

// TestDrainSpeedsUp: a rate that would take 200 s of the 10 there are is raised,
// so that all are told with a quarter of the time left for their answers.
func TestDrainSpeedsUp(t *testing.T) {
	t.Parallel()
	var logs logBook
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) {
		quiet(srv)
		srv.Runtime.Loops = 2
		srv.Logger = logs.logger()
	})
	clients := connectSim(t, n, addr, 200)
	done := beginDrain(t, srv, server.DrainOptions{Rate: 1, Timeout: 1000 * time.Second})
	idle(t, n)
	n.Advance(100 * time.Second) // as asked: there is time
	idle(t, n)
	if got := len(told(clients)); got < 100 || got > 102 || logs.count("sped up") != 0 {
		t.Errorf("%d are closed after 100 s, sped up %d times", got, logs.count("sped up"))
	}
	_ = srv.Close()
	expectDrained(t, done, nil)

	n, addr, srv = startSim(t, simnet.Config{}, func(srv *server.Server) {
		quiet(srv)
		srv.Runtime.Loops = 2
		srv.Logger = logs.logger()
	})
	clients = connectSim(t, n, addr, 200)
	done = beginDrain(t, srv, server.DrainOptions{Rate: 1, Timeout: 100 * time.Second})
	idle(t, n)
	for i := range 3 { // within 75 s, less what the test took for itself
		n.Advance(25 * time.Second)
		idle(t, n)
		if got, least := len(told(clients)), 66*(i+1); got < least || i < 2 && got > least+40 {
			t.Errorf("%d are closed in %d s, want at least %d", got, 25*(i+1), least)
		}
	}
	if got := len(told(clients)); got != 200 || logs.count("sped up") != 1 {
		t.Errorf("%d of 200 are closed, sped up %d times", got, logs.count("sped up"))
	}
	_ = srv.Close()
	expectDrained(t, done, nil)
}

// TestReady: not before it serves, and not from the first moment of a drain on.
func TestReady(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		if (&server.Server{}).Ready() {
			t.Error("ready before it serves")
		}
		connect, srv := start(t, nil)
		eventually(t, "ready", srv.Ready)
		old := connect().upgraded()
		done := beginDrain(t, srv, server.DrainOptions{Delay: time.Hour})
		if srv.Ready() {
			t.Error("ready while it drains")
		}
		for _, c := range []*client{old, connect().upgraded()} { // all else goes on
			c.send(frame(opText, "still here?"))
			c.expect(opText, "still here?")
		}
		_ = srv.Close() // ends the delay
		expectDrained(t, done, nil)
		old.expectClose(1001)
	})
}

// TestDrainAfterDelay goes on by itself.
func TestDrainAfterDelay(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		connect, srv := start(t, nil)
		c := connect().upgraded()
		done := beginDrain(t, srv, server.DrainOptions{Delay: 50 * time.Millisecond})
		c.expect(opClose, closePayload(1001, "server shutting down"))
		c.send(frame(opClose, ""))
		c.expectEOF()
		expectDrained(t, done, nil)
	})
}

// TestDrainRefuses: options that can not be meant begin no drain.
func TestDrainRefuses(t *testing.T) {
	_, srv := startServer(t, nil)
	eventually(t, "ready", srv.Ready)
	for _, code := range []ws.Code{999, ws.CodeNoStatus, ws.CodeAbnormal, 1015, 5000} {
		if err := srv.Drain(t.Context(), server.DrainOptions{Code: code}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(int(code))) {
			t.Errorf("code %d: %v", code, err)
		}
	}
	for field, options := range map[string]server.DrainOptions{
		"Rate -1": {Rate: -1}, "Delay -1s": {Delay: -time.Second}, "Timeout -1s": {Timeout: -time.Second},
	} {
		var wrong *server.FieldError
		err := srv.Drain(t.Context(), options)
		if want := "server: DrainOptions." + field + ": want 0 or above"; !errors.As(err, &wrong) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if !srv.Ready() {
		t.Error("a drain that was refused has begun")
	}
}

// TestDrainDeadline cuts what does not answer when the time is over, and says so.
func TestDrainDeadline(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		var logs logBook
		connect, srv := start(t, func(srv *server.Server) {
			quiet(srv)
			srv.Logger = logs.logger()
		})
		polite, silent := connect().upgraded(), connect().upgraded()
		done := beginDrain(t, srv, server.DrainOptions{Timeout: 400 * time.Millisecond})
		polite.expect(opClose, closePayload(1001, "server shutting down"))
		polite.send(frame(opClose, ""))
		polite.expectEOF()
		silent.expect(opClose, closePayload(1001, "server shutting down"))
		silent.expectEnd()
		expectDrained(t, done, context.DeadlineExceeded)
		expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseStopped, Closed: 1, Cut: 1})
		if logs.count("drain deadline passed") != 1 || logs.count(`"drain over" closed=1 cut=1 left=0`) != 1 {
			t.Errorf("logs: %s", logs.String())
		}
	})
}

// TestDrainCloseTimeout: a peer that does not answer is cut by then at the latest,
// and the drain waits for no more.
func TestDrainCloseTimeout(t *testing.T) {
	t.Parallel()
	n, addr, srv := startSim(t, simnet.Config{}, func(srv *server.Server) { srv.Timeouts.Close = 3 * time.Second })
	c := dialSim(t, n, addr).upgraded()
	done := beginDrain(t, srv, server.DrainOptions{})
	c.expect(opClose, closePayload(1001, "server shutting down"))
	idle(t, n)
	n.Advance(3*time.Second + tickTime)
	c.expectEnd()
	expectDrained(t, done, nil)
	expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseStopped, Cut: 1})
}

// TestDrainJoined: many may drain at once, the first says how, each waits within
// its own context, and Close ends it for all.
func TestDrainJoined(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, start starter) {
		connect, srv := start(t, quiet)
		c := connect().upgraded()
		first := beginDrain(t, srv, server.DrainOptions{Code: ws.CodeServiceRestart})
		var others sync.WaitGroup
		for range 4 {
			others.Go(func() {
				if err := srv.Drain(context.Background(), server.DrainOptions{Delay: time.Hour}); err != nil {
					t.Errorf("Drain: %v", err)
				}
			})
		}
		c.expect(opClose, closePayload(1012, "server shutting down"))
		_ = srv.Close()
		expectDrained(t, first, nil)
		others.Wait()
		c.expectEnd()
		expectProgress(t, srv, server.DrainProgress{Phase: server.PhaseStopped, Cut: 1})
		if err := srv.Drain(t.Context(), server.DrainOptions{Delay: time.Hour}); err != nil {
			t.Errorf("Drain after the end: %v", err)
		}
	})
}

// TestDrainContext: the context of any Drain ends it.
func TestDrainContext(t *testing.T) {
	t.Parallel()
	connect, srv := onSimnet(t, quiet)
	c := connect().upgraded()
	first := beginDrain(t, srv, server.DrainOptions{})
	c.expect(opClose, closePayload(1001, "server shutting down"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Drain(ctx, server.DrainOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v, want the context's error", err)
	}
	expectDrained(t, first, nil)
	c.expectEnd()
}

// TestDrainReports: the log tells of each phase, and of the progress now and then.
func TestDrainReports(t *testing.T) {
	t.Parallel()
	var logs logBook
	connect, srv := onSimnet(t, func(srv *server.Server) {
		quiet(srv)
		srv.Logger = logs.logger()
	})
	c := connect().upgraded()
	done := beginDrain(t, srv, server.DrainOptions{})
	eventually(t, "a report", func() bool { return logs.count(`msg="drain goes on" closed=0 cut=0 left=1`) > 0 })
	c.expect(opClose, closePayload(1001, "server shutting down"))
	_ = c.Close()
	expectDrained(t, done, nil)
	for _, line := range []string{"phase=unready connections=1", "phase=draining connections=1", `"drain over" closed=1 cut=0 left=0`} {
		if logs.count(line) != 1 {
			t.Errorf("no %q in the logs: %s", line, logs.String())
		}
	}
}

// TestDrainPlainHTTP: once the server is not ready each answer is its connection's
// last, and requests under way are finished.
func TestDrainPlainHTTP(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		arrived, release := make(chan struct{}), make(chan struct{})
		connect, srv := start(t, func(srv *server.Server) {
			srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					close(arrived)
					<-release
				}
				answerPlain(w, r)
			})
		})
		kept, slow := connect(), connect()
		for range 2 { // keep-alive
			kept.send(get("/a"))
			if resp, _ := kept.response(); resp.Close {
				t.Error("Connection: close before the drain")
			}
		}
		slow.send(get("/slow"))
		<-arrived
		done := beginDrain(t, srv, server.DrainOptions{Delay: time.Hour})
		kept.send(get("/b"))
		if resp, body := kept.response(); resp.StatusCode != 200 || body != "GET /b " || !resp.Close {
			t.Errorf("%s %q, close: %v", resp.Status, body, resp.Close)
		}
		kept.expectEOF()
		eventually(t, "net/http to have one connection left", func() bool { return srv.DrainProgress().HTTP == 1 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = srv.Drain(ctx, server.DrainOptions{}) // ends the delay the hard way
		slow.expectEnd()
		close(release)
		expectDrained(t, done, nil)
	})
}

// TestDrainFinishesPlainHTTP: the drain waits for a request under way.
func TestDrainFinishesPlainHTTP(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, start starter) {
		arrived, release := make(chan struct{}), make(chan struct{})
		connect, srv := start(t, func(srv *server.Server) {
			srv.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-release
				answerPlain(w, r)
			})
		})
		slow, open := connect(), connect().upgraded()
		slow.send(get("/slow"))
		<-arrived
		done := beginDrain(t, srv, server.DrainOptions{})
		open.expect(opClose, closePayload(1001, "server shutting down"))
		_ = open.Close()
		eventually(t, "the loops to be empty", func() bool { return srv.DrainProgress().Left == 0 })
		close(release)
		if resp, body := slow.response(); resp.StatusCode != 200 || body != "GET /slow " {
			t.Errorf("%s %q", resp.Status, body)
		}
		_ = slow.Close()
		expectDrained(t, done, nil)
	})
}
