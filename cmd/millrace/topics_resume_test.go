package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/sse"
)

// lossyProxy passes bytes on to a server, and cuts each connection behind some bytes of the server's.
type lossyProxy struct {
	ln     net.Listener
	to     atomic.Value // the server's address
	random func() int64
	cuts   atomic.Int64
	dial   func(addr string) (net.Conn, error)
}

func startLossyProxy(t *testing.T, random func() int64) *lossyProxy {
	t.Helper()
	return startProxy(t, random, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) })
}

func startProxy(t *testing.T, random func() int64, dial func(addr string) (net.Conn, error)) *lossyProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossyProxy{ln: ln, random: random, dial: dial}
	t.Cleanup(func() { _ = ln.Close() }) // ends run
	go p.run()
	return p
}

func (p *lossyProxy) run() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := p.dial(p.to.Load().(string))
		if err != nil {
			_ = client.Close() // the server is away
			continue
		}
		_ = client.(*net.TCPConn).SetLinger(0) // a cut is a reset, often
		go func() {
			_, _ = io.Copy(server, client) // ends with either
			_ = server.Close()
		}()
		go func() {
			if _, err := io.CopyN(client, server, p.random()); err == nil {
				p.cuts.Add(1)
			}
			_ = client.Close()
			_ = server.Close()
		}()
	}
}

// follower is a client of one topic that comes back as docs/gateway.md says.
type follower struct {
	t        *testing.T
	addr     string
	position string
	last     int  // number seen
	gap      bool // it was told that something may be missing
	dropped  int  // messages that it was told to be missing, since the last one of its connection
	missed   int  // in all
	told     int
	conns    int
}

// missing notes that so many messages are missing behind the last one.
func (f *follower) missing(n int) {
	f.dropped += n
	f.missed += n
}

// begins notes how a subscription begins.
func (f *follower) begins(position string, recovered bool) {
	if !recovered && f.position != "" {
		if !f.gap { // or it was cut again before it could go on
			f.told++
		}
		f.gap = true
	}
	if position != "" {
		f.position = position
	}
}

// message notes a message; false: it is wrong.
func (f *follower) message(position, data string) bool {
	var n int
	if _, err := fmt.Sscan(data, &n); err != nil || n <= f.last || n != f.last+1+f.dropped && !f.gap {
		f.t.Errorf("message %.20q behind %d, told of a gap: %v, and of %d dropped ones", data, f.last, f.gap, f.dropped)
		return false
	}
	f.last, f.gap, f.dropped, f.position = n, false, 0, position
	return true
}

// follow comes back until the message of this number is there.
func (f *follower) follow(end int, once func() error) {
	for began := time.Now(); f.last < end && !f.t.Failed(); f.conns++ {
		f.dropped = 0 // they come after all, if they are kept
		if err := once(); err != nil && time.Since(began) > 2*patience {
			f.t.Errorf("%d of %d: %v", f.last, end, err)
		}
	}
}

// byEvents reads one connection of an event stream to its end.
func (f *follower) byEvents(end int) error {
	r, err := http.NewRequestWithContext(f.t.Context(), "GET", "http://"+f.addr+"/topics/a?last=10000", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	if f.position != "" {
		r.Header.Set("Last-Event-ID", f.position)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for in := sse.NewReader(resp.Body); f.last < end; {
		e, err := in.Next()
		if err != nil {
			return err
		}
		switch e.Name {
		case "message":
			if !f.message(e.ID, string(e.Data)) {
				return nil
			}
		case "missed":
			var told struct{ Missed int }
			if err := json.Unmarshal(e.Data, &told); err != nil || told.Missed < 1 {
				return fmt.Errorf("missed %q: %w", e.Data, err)
			}
			f.missing(told.Missed)
		case "subscribed":
			var told struct{ Topics []struct{ Recovered bool } }
			if err := json.Unmarshal(e.Data, &told); err != nil || len(told.Topics) != 1 {
				return errors.Join(err, errors.New("no topic"))
			}
			f.begins(e.ID, told.Topics[0].Recovered)
		}
	}
	return nil
}

// byEnvelopes reads one WebSocket to its end.
func (f *follower) byEnvelopes(end int) error {
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET /topics HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: millrace.topics.v1\r\n\r\n", f.addr); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != 101 {
		return errors.New(resp.Status)
	}
	ask := fmt.Sprintf(`{"id":1,"subscribe":"a","since":%q,"last":10000}`, f.position)
	if _, err := conn.Write(append(header(fin|opText, len(ask)), ask...)); err != nil {
		return err
	}
	for f.last < end {
		text, err := nextText(in)
		if err != nil {
			return err
		}
		var m struct {
			OK, Recovered         bool
			Topic, Position, Data string
			Missed                int
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		switch {
		case m.OK:
			f.begins(m.Position, m.Recovered)
		case m.Missed > 0:
			f.missing(m.Missed)
		case !f.message(m.Position, m.Data):
			return nil
		}
	}
	return nil
}

// nextText reads a server's frame, which has to be a text.
func nextText(in *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return nil, err
	}
	length := int(head[1])
	if length == 126 {
		if _, err := io.ReadFull(in, head[2:]); err != nil {
			return nil, err
		}
		length = int(head[2])<<8 | int(head[3])
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, err
	}
	if head[0] != fin|opText {
		return nil, fmt.Errorf("frame %x %q", head[0], payload)
	}
	return payload, nil
}

// startFollowers has so many follow a topic to its end, by envelopes and by events in turns.
func startFollowers(t *testing.T, clients *sync.WaitGroup, n int, addr string, end int) (all []*follower) {
	for i := range n {
		f := &follower{t: t, addr: addr}
		once := f.byEnvelopes
		if i%2 == 0 {
			once = f.byEvents
		}
		clients.Go(func() { f.follow(end, func() error { return once(end) }) })
		all = append(all, f)
	}
	return all
}

// TestTopicsResume cuts clients' connections behind any byte, drains the server and kills it: each client has every
// message once, in order, or was told that some are missing; and it is told only for the restarts.
func TestTopicsResume(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	proxy := startLossyProxy(t, func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return 1 + random.Int64N(1<<uint(6+random.IntN(9))) // often within the head
	})
	const each, restarts = 700, 2
	const end = each * (restarts + 1)
	flags := []string{"--topics", "--topics-rule", "# messages=10000", "--drain-timeout", "100ms", "--drain-rate", "0"}
	p := serve(t, nil, flags...)
	proxy.to.Store(p.addr)
	var clients sync.WaitGroup
	followers := startFollowers(t, &clients, 6, proxy.ln.Addr().String(), end)
	publisher := http.Client{Timeout: patience}
	for n := 1; n <= end; n++ {
		resp, err := publisher.Post("http://"+p.addr+"/topics/a", "text/plain", strings.NewReader(fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // for the next one
		if _ = resp.Body.Close(); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		if n%each == 0 && n < end {
			if n == each {
				p.signal(syscall.SIGTERM)
				p.status()
			} else {
				p.end()
			}
			p = serve(t, nil, flags...) // what it had kept is gone
			proxy.to.Store(p.addr)
		}
	}
	clients.Wait()
	for i, f := range followers {
		if f.last != end || f.told > restarts {
			t.Errorf("client %d: %d messages, told of gaps %d times", i, f.last, f.told)
		}
		t.Logf("client %d: %d connections, told of gaps %d times", i, f.conns, f.told)
	}
	if proxy.cuts.Load() < 50 {
		t.Errorf("only %d cuts", proxy.cuts.Load())
	}
}
