package load_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
)

// serveTLS mounts a server in net/http with TLS; ca is the file of its
// certificate.
func serveTLS(t *testing.T, srv *server.Server) (url, ca string) {
	t.Helper()
	web := httptest.NewUnstartedServer(srv)
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(func() {
		web.Close()
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return "wss" + strings.TrimPrefix(web.URL, "https") + "/", ca
}

// TestTLS runs every scenario, and messages that fill many records.
func TestTLS(t *testing.T) {
	leavesNothing(t)
	change := map[string]func(*result.Plan){
		"64 KiB":      func(p *result.Plan) { p.MinSize, p.InFlight = 64<<10, 4 },
		"1 MiB":       func(p *result.Plan) { p.MinSize, p.InFlight, p.Connections = 1<<20, 2, 2 },
		"insecure":    func(p *result.Plan) { p.CAFile, p.Insecure = "", true },
		"3 processes": func(p *result.Plan) { p.Processes = 3 },
		"resets":      func(p *result.Plan) { p.Scenario, p.Reset = result.Churn, true },
	}
	for _, scenario := range result.Scenarios() {
		change[scenario] = func(p *result.Plan) { p.Scenario = scenario }
	}
	for name, change := range change {
		t.Run(name, func(t *testing.T) {
			everyday(t, name, result.Echo, result.Churn, result.Broadcast, "64 KiB")
			t.Parallel()
			h := server.Handler(plainEcho{})
			switch name {
			case result.Broadcast:
				h = &publisher{conns: map[*server.Conn]struct{}{}}
			case result.Receive:
				h = newTicker(t)
			}
			url, ca := serveTLS(t, &server.Server{Handler: h, Queue: server.Queue{Max: 64 << 20}}) // a busy machine is to be late, not cut off
			p := brief(result.Echo, url)
			p.Rate = 500
			p.CAFile, p.ServerPID = ca, -1
			if name == result.Sweep {
				p.SweepLimit, p.Duration, p.SweepFactor, p.SweepMax = time.Minute, 100*time.Millisecond, 4, 2000
			}
			change(&p)
			r := run(t, p, load.Watch{})
			for r.Count == 0 && p.Duration < 5*time.Second { // a megabyte takes a busy machine long
				p.Duration *= 4
				r = run(t, p, load.Watch{})
			}
			if p.Scenario != result.Churn { // where few are ever at it at once, if handshakes take long
				wantSane(t, r)
				return
			}
			if wantTroubles(t, r); r.Failed != 0 || r.Lost != 0 || r.Opened < p.Connections {
				t.Errorf("%d opened, %d failed, %d lost", r.Opened, r.Failed, r.Lost)
			}
		})
	}
}

// TestResume: with it connections resume the session of one before, from one process
// or two, and without it they do not.
func TestResume(t *testing.T) {
	leavesNothing(t)
	for _, processes := range []int{0, 2} {
		for _, resume := range []bool{false, true} {
			url, ca := serveTLS(t, &server.Server{Handler: plainEcho{}})
			p := brief(result.Churn, url)
			p.CAFile, p.ServerPID, p.Resume, p.Processes, p.Connections = ca, -1, resume, processes, 4
			r := run(t, p, load.Watch{})
			wantTroubles(t, r)
			h := r.Handshakes
			if h == nil || h.Count == 0 || h.All < h.Count || h.All < int64(r.Opened) || h.PerSecond != float64(h.Count)/r.Seconds {
				t.Fatalf("%d processes: handshakes %+v of %d connections", processes, h, r.Opened)
			}
			if resumed := h.Resumed > 0; resumed != resume || h.Resumed > h.All {
				t.Errorf("%d processes, resume %v: %+v", processes, resume, h)
			}
		}
	}
}

// serveResuming is serveTLS with session tickets, or without.
func serveResuming(t *testing.T, tickets bool) (url string) {
	t.Helper()
	srv := &server.Server{Handler: plainEcho{}}
	web := httptest.NewUnstartedServer(srv)
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.TLS = &tls.Config{SessionTicketsDisabled: !tickets}
	web.StartTLS()
	t.Cleanup(func() {
		web.Close()
		_ = srv.Close() // always nil
	})
	return "wss" + strings.TrimPrefix(web.URL, "https") + "/"
}

// TestNotResumed: a server that gives no tickets is not what was to be measured.
func TestNotResumed(t *testing.T) {
	leavesNothing(t)
	p := brief(result.Churn, serveResuming(t, false))
	p.Insecure, p.ServerPID, p.Resume = true, -1, true
	r := run(t, p, load.Watch{})
	if len(r.Troubles) != 1 || !strings.HasPrefix(r.Troubles[0].What, "tls: the server resumed none of ") {
		t.Errorf("troubles %+v", r.Troubles)
	}
}

// TestTLSTroubles: whatever goes wrong before TLS is established gives one line.
func TestTLSTroubles(t *testing.T) {
	leavesNothing(t)
	url, ca := serveTLS(t, &server.Server{})
	wss := func(script func(*peer)) string { return strings.Replace(scripted(t, script), "ws", "wss", 1) }
	for name, tt := range map[string]struct {
		url, ca string
		want    string
	}{
		"not trusted":    {url, "", "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"another's name": {strings.Replace(url, "127.0.0.1", "localhost", 1), ca, "tls: failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not localhost"},
		"no TLS":         {wss(func(p *peer) { p.send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); p.hold() }), ca, "tls: first record does not look like a TLS handshake"},
		"no answer":      {wss(func(p *peer) { p.hold() }), ca, "tls: no handshake within 500ms"},
		"closed":         {wss(func(p *peer) { _, _ = p.Read(make([]byte, 5000)) }), ca, "tls: EOF"},
		"reset":          {wss(func(p *peer) { _, _ = p.Read(make([]byte, 5000)); p.drop() }), ca, "tls: connection reset by peer"},
		"closed in a flight": {wss(func(p *peer) {
			_, _ = p.Read(make([]byte, 5000))
			p.send([]byte("\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"))
		}), ca, "tls: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := hasty(tt.url)
			p.CAFile = tt.ca
			if name != "no answer" {
				p.ConnectTimeout = patience
			}
			r := run(t, p, load.Watch{})
			wantTroubles(t, r, result.Trouble{What: tt.want, Count: 4})
			if r.Failed != 4 || r.Opened != 0 {
				t.Errorf("%d failed, %d opened", r.Failed, r.Opened)
			}
		})
	}
}

// TestTLSFlood: what a server sends before it is asked is bounded.
func TestTLSFlood(t *testing.T) {
	leavesNothing(t)
	record := []byte("\x16\x03\x03\x40\x00" + strings.Repeat("\x02", 16<<10))
	url := scripted(t, func(p *peer) {
		for p.send(record) {
		}
	})
	r := run(t, hasty(strings.Replace(url, "ws", "wss", 1)), load.Watch{})
	for _, trouble := range r.Troubles {
		if !strings.HasPrefix(trouble.What, "tls: ") {
			t.Errorf("%+v", trouble)
		}
	}
	if r.Failed != 4 || r.Opened != 0 {
		t.Errorf("%d failed, %d opened", r.Failed, r.Opened)
	}
}

// TestTLSStopped: a run that ends in the midst of handshakes leaves nothing.
func TestTLSStopped(t *testing.T) {
	leavesNothing(t)
	p := hasty(strings.Replace(scripted(t, func(p *peer) { p.hold() }), "ws", "wss", 1))
	p.Connections, p.ConnectTimeout, p.Timeout = 200, patience, 300*time.Millisecond
	if r := run(t, p, load.Watch{}); r.Opened != 0 || len(r.Troubles) == 0 {
		t.Errorf("%d opened, troubles %v", r.Opened, r.Troubles)
	}
}
