package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := serve(t, nil, "--drain-timeout", "1h", "--close-timeout", "1h")
		c := open(t, p.addr)
		p.signal(sig)
		c.expectClose(1001)
		c.sendClose(1001, "")
		c.expectEOF()
		p.expectStatus(0, `msg="drain over" closed=1 cut=0 left=0`)
	}
}

// TestDrainHundreds: under SIGTERM each of hundreds of clients gets its close
// frame, with the code and at the pace asked for, and a clean end.
func TestDrainHundreds(t *testing.T) {
	t.Parallel()
	const clients = 300
	for _, flags := range [][]string{
		{"--drain-rate", "0", "--drain-code", "1012"},
		{"--drain-rate", "1000", "--drain-code", "1012"},
		{"--drain-rate", "1", "--drain-timeout", "2s", "--drain-code", "1012"}, // sped up
	} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			t.Parallel()
			p := serve(t, nil, flags...)
			opened := make([]*client, clients)
			for i := range opened {
				opened[i] = open(t, p.addr)
			}
			p.signal(syscall.SIGTERM)
			var all sync.WaitGroup
			for i, c := range opened {
				all.Go(func() {
					if err := c.answerClose(1012); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				})
			}
			all.Wait()
			p.expectStatus(0, fmt.Sprintf(`msg="drain over" closed=%d cut=0 left=0`, clients))
		})
	}
}

// TestDrainCutsTheRest: a client that does not answer is not waited for longer
// than --drain-timeout.
func TestDrainCutsTheRest(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--drain-timeout", "300ms", "--close-timeout", "1h")
	c := open(t, p.addr)
	p.signal(syscall.SIGTERM)
	c.expectClose(1001)
	p.expectStatus(0, `msg="drain over" closed=0 cut=1 left=0`)
}

// sameSignal is how long a further signal is taken for the first.
const sameSignal = 1100 * time.Millisecond

// TestDoubledSignal: a signal that comes twice, as timeout(1) sends it to a process and
// its group, is one: everybody is told.
func TestDoubledSignal(t *testing.T) {
	t.Parallel()
	p := serve(t, nil)
	c := open(t, p.addr)
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGTERM)
	time.Sleep(50 * time.Millisecond)
	p.signal(syscall.SIGINT)
	if err := c.answerClose(1001); err != nil {
		t.Error(err)
	}
	p.expectStatus(0, `again="in a second or later, to stop at once"`)
}

// TestHangup: SIGHUP without TLS ends nothing.
func TestHangup(t *testing.T) {
	t.Parallel()
	p := serve(t, nil)
	c := open(t, p.addr)
	p.signal(syscall.SIGHUP)
	c.send(fin|opText, "still here")
	c.expect(opText, "still here")
	p.signal(syscall.SIGTERM)
	if err := c.answerClose(1001); err != nil {
		t.Error(err)
	}
	p.expectStatus(0, "nothing to reload")
}

func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--drain-timeout", "1h", "--close-timeout", "1h")
	c := open(t, p.addr)
	p.signal(syscall.SIGTERM)
	c.expectClose(1001)
	time.Sleep(sameSignal)
	p.signal(syscall.SIGINT)
	p.expectStatus(1, "stopped at once by a second signal (interrupt)\n")
}

// TestDrainDelay: readiness fails first, while all else goes on; but plain
// connections are told to go.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	p := serve(t, nil, "--drain-delay", "1h")
	c := open(t, p.addr)
	kept := http.Client{Timeout: patience}
	p.signal(syscall.SIGTERM)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		resp, body := fetch(t, "GET", "http://"+p.addr+"/readyz")
		if resp.StatusCode == 503 && strings.Contains(body, "shutting down") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("/readyz: %s, want 503", resp.Status)
		}
	}
	resp, err := kept.Get("http://" + p.addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // its length is known
	if resp.StatusCode != 200 || !resp.Close {
		t.Errorf("/healthz: %s, Connection: close %v; want 200 and true", resp.Status, resp.Close)
	}
	c.send(fin|opText, "still here?")
	c.expect(opText, "still here?")
	open(t, p.addr).send(fin|opText, "new")
	time.Sleep(sameSignal)
	p.signal(syscall.SIGTERM)
	p.expectStatus(1, fmt.Sprintf("second signal (%v)", syscall.SIGTERM))
}
