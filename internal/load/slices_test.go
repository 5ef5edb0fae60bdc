package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// dealer asks for slices.
type dealer struct {
	t       *testing.T
	orders  *json.Encoder
	answers *json.Decoder
	hangUp  func()
	err     chan error // how Slices ended
}

func newDealer(ctx context.Context, t *testing.T, p result.Plan) *dealer {
	t.Helper()
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	d := &dealer{t, json.NewEncoder(orders), json.NewDecoder(answers), func() { _ = orders.Close() }, make(chan error, 1)}
	go func() {
		err := load.Slices(ctx, p, in, out)
		_ = out.Close()
		d.err <- err
	}()
	t.Cleanup(d.hangUp)
	return d
}

// answer is the next slice.
func (d *dealer) answer() load.Slice {
	d.t.Helper()
	var s load.Slice
	if err := d.answers.Decode(&s); err != nil {
		d.t.Fatalf("no slice: %v", err)
	}
	return s
}

func (d *dealer) order(settle, measure time.Duration) load.Slice {
	d.t.Helper()
	if err := d.orders.Encode(load.Order{Settle: settle, Measure: measure}); err != nil {
		d.t.Fatal(err)
	}
	return d.answer()
}

// end hangs up, and gives how Slices ended.
func (d *dealer) end() error {
	d.t.Helper()
	d.hangUp()
	select {
	case err := <-d.err:
		return err
	case <-time.After(patience):
		d.t.Fatal("Slices goes on without orders")
		return nil
	}
}

// TestSlices loads a server now and then. Each slice is told of alone, and between two
// nothing is under way.
func TestSlices(t *testing.T) {
	for _, scenario := range []string{result.Echo, result.Rate, result.Churn} {
		t.Run(scenario, func(t *testing.T) {
			leavesNothing(t)
			url, process := startEcho(t)
			p := brief(scenario, url)
			p.ServerPID = process.Pid
			d := newDealer(t.Context(), t, p)
			first := d.answer().Result
			open := 20
			if scenario == result.Churn {
				open = 0
			}
			if first.Opened != open || first.Count != 0 || first.Lost+first.Failed+len(first.Troubles) > 0 {
				t.Errorf("at first %+v, want %d connections open", first, open)
			}
			for range 3 {
				wantSlice(t, scenario, d.order(30*time.Millisecond, 150*time.Millisecond))
			}
			if err := d.end(); err != nil {
				t.Error(err)
			}
		})
	}
}

func wantSlice(t *testing.T, scenario string, s load.Slice) {
	t.Helper()
	r := s.Result
	if r.Seconds < 0.15 || r.Count == 0 || r.Latency.Count() == 0 || r.PerSecond == 0 || len(r.Steps) > 0 {
		t.Errorf("%v s, count %d, latencies %d, %v a second, %d steps", r.Seconds, r.Count, r.Latency.Count(), r.PerSecond, len(r.Steps))
	}
	if r.Failed+r.Lost+len(r.Troubles) > 0 || scenario != result.Churn && r.Opened > 0 {
		t.Errorf("opened %d, failed %d, lost %d, troubles %v", r.Opened, r.Failed, r.Lost, r.Troubles)
	}
	if r.Server == nil || r.Server.CPU <= 0 || r.Client.Cores <= 0 || r.Client.Available == 0 || s.Taken < 0 || s.Taken > 1 {
		t.Errorf("server %+v, client %+v, taken %v", r.Server, r.Client, s.Taken)
	}
	unit := "message"
	if scenario == result.Churn {
		unit = "connection"
	}
	if r.Unit != unit {
		t.Errorf("unit %q, want %q", r.Unit, unit)
	}
	if scenario == result.Rate {
		wantDue(t, "latency", r.Latency, 2000, r.Seconds, 1)
	}
}

// TestSlicesOfLateServer: what was under way at the end of a slice comes back in it, and
// is none of the next one's: a server that answers 5 ms late does so in each.
func TestSlicesOfLateServer(t *testing.T) {
	url, _ := startServer(t, roleLate)
	d := newDealer(t.Context(), t, brief(result.Rate, url))
	d.answer()
	for range 3 {
		r := d.order(0, 50*time.Millisecond).Result
		wantDue(t, "latency", r.Latency, 2000, r.Seconds, 1)
		if n := slower(r.Latency, 4900*time.Microsecond); n != r.Latency.Count() { // what the histogram rounds aside
			t.Errorf("%d of %d answers came before they were sent", r.Latency.Count()-n, r.Latency.Count())
		}
	}
}

// unevenEcho answers each third message late, and the others after 5 ms.
type unevenEcho struct {
	plainEcho
	late time.Duration
	came atomic.Int64
}

func (e *unevenEcho) Message(c *server.Conn, m ws.Message) {
	after := 5 * time.Millisecond
	if e.came.Add(1)%3 == 0 {
		after = e.late
	}
	payload := slices.Clone(m.Payload)
	time.AfterFunc(after, func() { _ = c.Send(m.Opcode, payload) }) // Close tells
}

// TestSlicesOfSlowServer: what takes longer than a slice is in its times all the same,
// if it was sent in it.
func TestSlicesOfSlowServer(t *testing.T) {
	const late = 250 * time.Millisecond
	for _, scenario := range []string{result.Echo, result.Churn} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			p := brief(scenario, serve(t, "127.0.0.1:0", &server.Server{Handler: &unevenEcho{late: late}}))
			p.ServerPID, p.Messages = -1, 1
			d := newDealer(t.Context(), t, p)
			d.answer()
			var inTime, overdue, service int64
			for range 3 {
				s := d.order(0, 100*time.Millisecond)
				wantTroubles(t, s.Result)
				overdue += slower(s.Result.Latency, late*99/100)
				service += slower(s.Result.Service, late*99/100)
				inTime += s.Result.Latency.Count() - slower(s.Result.Latency, late*99/100)
				if s.P99 < late*95/100 {
					t.Errorf("p99 %v, want %v or more: each third took as long", s.P99, late)
				}
			}
			if inTime == 0 || overdue == 0 || scenario == result.Churn && service == 0 {
				t.Errorf("%d times within a slice, %d times and %d service times of %v", inTime, overdue, service, late)
			}
		})
	}
}

// TestSlicesOverTLS: each slice tells of its own handshakes, and of sessions that were to
// be resumed and were not.
func TestSlicesOverTLS(t *testing.T) {
	leavesNothing(t)
	for _, tickets := range []bool{true, false} {
		p := brief(result.Churn, serveResuming(t, tickets))
		p.Insecure, p.ServerPID, p.Resume, p.Connections = true, -1, true, 4
		d := newDealer(t.Context(), t, p)
		if h := d.answer().Result.Handshakes; h == nil || h.Count != 0 || h.All != 0 || h.Resumed != 0 || result.Known(h.PerSecond) {
			t.Errorf("at first %+v, want none", h)
		}
		for range 2 {
			r := d.order(0, 150*time.Millisecond).Result
			h := r.Handshakes
			if h == nil || h.Count == 0 || h.All < h.Count || h.All != int64(r.Opened) || h.PerSecond != float64(h.Count)/r.Seconds {
				t.Fatalf("handshakes %+v of %d connections", h, r.Opened)
			}
			if tickets {
				wantTroubles(t, r)
			}
			if resumed := h.Resumed > 0; resumed != tickets || len(r.Troubles) > 0 == tickets {
				t.Errorf("tickets %v: %+v, troubles %v", tickets, h, r.Troubles)
			}
		}
		if err := d.end(); err != nil {
			t.Error(err)
		}
	}
}

// TestSlicesCompressed: each slice tells what compression made of its own messages.
func TestSlicesCompressed(t *testing.T) {
	leavesNothing(t)
	p := brief(result.Echo, serve(t, "127.0.0.1:0", &server.Server{Handler: plainEcho{}, Deflate: &server.Deflate{}}))
	p.Deflate, p.Text, p.MinSize, p.ServerPID, p.Connections = load.DeflateOn, load.TextJSON, 1000, -1, 4
	d := newDealer(t.Context(), t, p)
	if w := d.answer().Result.Wire; w != nil {
		t.Errorf("at first %+v, want none", w)
	}
	for range 2 {
		r := d.order(0, 100*time.Millisecond).Result
		if w := r.Wire; w == nil || w.ReceivedPayload != r.Bytes || w.SentPayload == 0 || w.ReceivedRatio() < 0.05 || w.ReceivedRatio() > 0.6 {
			t.Errorf("%+v, %d bytes of payload", w, r.Bytes)
		}
	}
}

// TestSlicesBeginAnew: connections that do not come to their end are counted and given
// up, so that the next slice of churn has all of its own.
func TestSlicesBeginAnew(t *testing.T) {
	t.Parallel() // it mostly waits
	var well atomic.Bool
	ended := make(chan struct{}, 100)
	d := newDealer(t.Context(), t, hastyChurn(scripted(t, func(p *peer) {
		switch {
		case !well.Load() && p.number%2 == 0: // which never answers the upgrade
		case p.upgrade() && well.Load():
			p.echo(whole)
			return
		}
		_, _ = io.Copy(io.Discard, p.TCPConn)
		ended <- struct{}{}
	})))
	d.answer()
	s := d.order(0, 50*time.Millisecond).Result
	if len(s.Troubles) != 1 || !strings.Contains(s.Troubles[0].What, "did not come to their end") || s.Troubles[0].Count != 4 {
		t.Errorf("troubles %+v, want that 4 connections did not end", s.Troubles)
	}
	for range 4 {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("connections of a slice that is over are still there")
		}
	}
	well.Store(true)
	if s = d.order(0, 50*time.Millisecond).Result; s.Count == 0 || len(s.Troubles) > 0 {
		t.Errorf("%d done, troubles %+v, want none", s.Count, s.Troubles)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

// hastyChurn is hasty, with patience for each connection.
func hastyChurn(url string) result.Plan {
	p := hasty(url)
	p.Scenario, p.ConnectTimeout = result.Churn, patience
	return p
}

// TestSlicesGoWrong: what goes wrong is told, or is the error of what can not be run.
func TestSlicesGoWrong(t *testing.T) {
	t.Run("a scenario of another kind", func(t *testing.T) {
		d := newDealer(t.Context(), t, brief(result.Idle, "ws://127.0.0.1:1/"))
		if plan, ok := errors.AsType[*load.PlanError](d.end()); !ok || plan.Field != "Scenario" {
			t.Errorf("error %v, want one of the plan's scenario", plan)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
		d := newDealer(t.Context(), t, brief(result.Echo, "ws://"+ln.Addr().String()+"/"))
		if first := d.answer().Result; first.Failed != 20 || len(first.Troubles) != 1 {
			t.Errorf("failed %d, troubles %v, want 20 of one kind", first.Failed, first.Troubles)
		}
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
	t.Run("the server dies", func(t *testing.T) {
		url, process := startEcho(t)
		d := newDealer(t.Context(), t, brief(result.Echo, url))
		d.answer()
		_ = process.Kill()
		if r := d.order(0, 50*time.Millisecond).Result; r.Lost != 20 || r.Server != nil {
			t.Errorf("lost %d, server %+v, want 20 and nothing", r.Lost, r.Server)
		}
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
	t.Run("an order that makes no sense", func(t *testing.T) {
		url := serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}})
		err := load.Slices(t.Context(), brief(result.Echo, url), strings.NewReader("go\n"), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "an order of a slice") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("it is over in a slice", func(t *testing.T) {
		leavesNothing(t)
		url := serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}})
		ctx, cancel := context.WithCancel(t.Context())
		d := newDealer(ctx, t, brief(result.Echo, url))
		d.answer()
		if err := d.orders.Encode(load.Order{Measure: time.Hour}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
}
