package natstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// startHAProxy runs the configuration of docs/cluster.md with one node more. up says that it has a node in.
func startHAProxy(t *testing.T, nodes, admins []string) (addr string, up func(node int) bool) {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	r, dir := readRecipe(t), t.TempDir()
	config, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "s")
	head, _, _ := strings.Cut(r.haproxy, "    server a ")
	head = fmt.Sprintf("global\n    stats socket %s mode 600\n", socket) + head
	for i := range nodes {
		_, port, _ := strings.Cut(admins[i], ":")
		head += fmt.Sprintf("    server n%d %s check port %s\n", i, nodes[i], port)
	}
	if err := os.WriteFile(config, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-db", "-f", config)
	var out text
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return "127.0.0.1:" + r.ports["8080"], func(node int) bool {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return false // not yet
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "show stat nodes 4 -1\n") // an error shows when it is read
		answer, _ := io.ReadAll(conn)
		return regexp.MustCompile(fmt.Sprintf("(?m)^nodes,n%d,.*,UP,", node)).Match(answer)
	}
}

// follower is a client of topics, in envelopes, that comes back with its position.
type follower struct {
	t        *testing.T
	addr     string
	ordered  bool // messages come in their order; else those of several nodes may change places
	seen     map[int]bool
	last     int // number of the last message that came
	position string
	connects int
	told     int // times that it was told that something is missing
	newest   atomic.Int64
	ready    chan struct{} // closed when it is subscribed
}

// envelope is what the server says.
type envelope struct {
	ID        int
	OK        bool
	Position  string
	Recovered bool
	Sent      int
	Data      *string
	Gap       *string
	Missed    int
	Error     string
}

// follow gets messages until ctx ends.
func (f *follower) follow(ctx context.Context) {
	for ctx.Err() == nil {
		c, _, err := websocket.Dial(ctx, "ws://"+f.addr+"/topics?envelope=1", nil)
		if err != nil {
			time.Sleep(5 * time.Millisecond) // no node may be there for a moment
			continue
		}
		f.connects++
		f.receive(ctx, c)
		_ = c.CloseNow()
	}
}

// receive is one connection.
func (f *follower) receive(ctx context.Context, c *websocket.Conn) {
	say := fmt.Sprintf(`{"id":1,"subscribe":"rooms/hall","since":%q}`, f.position)
	if c.Write(ctx, websocket.MessageText, []byte(say)) != nil {
		return // it has ended
	}
	last, first, came := f.last, f.position == "", map[int]bool{}
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			return // likewise
		}
		var e envelope
		if err := json.Unmarshal(data, &e); err != nil || e.Error != "" || e.Missed > 0 {
			f.t.Errorf("%s, %v", data, err)
			return
		}
		switch {
		case e.ID == 1:
			if f.position = e.Position; first {
				close(f.ready)
			} else if !e.Recovered {
				f.told++
				last = 0 // what is kept comes again
			}
		case e.Gap != nil:
			f.told++
		case e.Data != nil:
			number, err := strconv.Atoi(*e.Data)
			if err != nil || f.ordered && number <= last || came[number] {
				f.t.Errorf("%q behind %d", *e.Data, last)
			}
			last, f.position, came[number] = number, e.Position, true
			f.last, f.seen[number] = number, true
			f.newest.Store(max(f.newest.Load(), int64(number)))
		}
	}
}

// publishThrough posts numbers until stop, and gives the last one, how often it was refused, and how often it got no answer since a node
// was killed.
func publishThrough(ctx context.Context, t *testing.T, addr string, killed *atomic.Bool, stop <-chan struct{}) (last, refused, cut int) {
	for last = 1; ; {
		answer, err := tryAsk(ctx, "POST", "http://"+addr+"/topics/rooms/hall", strconv.Itoa(last))
		switch {
		case err == nil && strings.HasPrefix(answer, "200 "):
		case err == nil && strings.HasPrefix(answer, "503 ") && !strings.Contains(answer, "unknown"):
			refused++ // nobody has it
			time.Sleep(5 * time.Millisecond)
			continue
		case killed.Load() && ctx.Err() == nil: // the node may have published it before it ended
			cut++
			time.Sleep(300 * time.Millisecond) // it is in the stream by now, or never
			kept := fmt.Sprintf(`"data":"%d"`, last)
			if answer, err := tryAsk(ctx, "GET", "http://"+addr+"/history/rooms/hall?last=1", ""); err != nil || !strings.Contains(answer, kept) {
				continue
			}
		default:
			t.Errorf("message %d: %q, %v", last, answer, err)
			return last, refused, cut
		}
		select {
		case <-stop:
			return last, refused, cut
		case <-time.After(2 * time.Millisecond):
			last++
		}
	}
}

// TestServeDeploy: three nodes behind HAProxy are deployed anew, one after the other, while somebody publishes. With a stream, where one
// is killed besides, each client has every message, in order, once. Without one it is told each time that it comes back that something may be missing, and
// messages that the publisher's requests brought to different nodes may change places.
func TestServeDeploy(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string][]string{"stream": {"--nats-stream", "ROOMS rooms/# messages=100000 memory"}, "core": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deploy(t, stream)
		})
	}
}

func deploy(t *testing.T, stream []string) {
	s := startServer(t)
	var nodes, admins []string
	for range 3 {
		nodes, admins = append(nodes, fmt.Sprintf("127.0.0.1:%d", freePort(t))), append(admins, fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	}
	start := func(i int) *served {
		return startServe(t, append([]string{"--listen", nodes[i], "--admin", admins[i], "--lb-idle-timeout", "60s", "--drain-delay", "1500ms", "--drain-rate", "50",
			"--topics-rule", "rooms/# messages=1000", "--nats", s.url()}, stream...)...)
	}
	var running []*served
	for i := range nodes {
		running = append(running, start(i))
	}
	addr, up := startHAProxy(t, nodes, admins)
	askFor(t, "200 ready", "GET", "http://"+addr+"/readyz", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var followers []*follower
	var all sync.WaitGroup
	for range 30 {
		f := &follower{t: t, addr: addr, ordered: stream != nil, seen: map[int]bool{}, ready: make(chan struct{})}
		followers = append(followers, f)
		all.Go(func() { f.follow(ctx) })
	}
	for _, f := range followers {
		select {
		case <-f.ready:
		case <-ctx.Done():
			t.Fatal("a client is not subscribed")
		}
	}
	stop := make(chan struct{})
	var last, refused, cut int
	var killed atomic.Bool
	published := make(chan struct{})
	go func() {
		last, refused, cut = publishThrough(ctx, t, addr, &killed, stop)
		close(published)
	}()
	if stream != nil {
		killed.Store(true)
		running[0].end(os.Kill)
		running[0] = start(0)
		eventually(t, "the node that was killed to be back", func() bool { return up(0) })
		killed.Store(false)
	}
	for i := range nodes {
		drainServed(t, running[i], running[(i+1)%len(running)])
		running[i] = start(i)
		eventually(t, "the node to be back", func() bool { return up(i) })
	}
	close(stop)
	<-published
	for _, f := range followers {
		eventually(t, fmt.Sprint("message ", last), func() bool { return f.newest.Load() == int64(last) || ctx.Err() != nil })
	}
	cancel()
	all.Wait()
	if err := ctx.Err(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	t.Logf("%d messages, %d refused and published again, %d cut", last, refused, cut)
	countDeploy(t, followers, last, stream != nil)
}

// drainServed ends a node, which another one sees.
func drainServed(t *testing.T, s, other *served) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it is there
	eventually(t, "another node to see the drain", func() bool {
		for _, n := range nodesOf(t, other).Nodes {
			if n.Draining {
				return true
			}
		}
		select {
		case <-s.exited: // on a slow machine it was not seen in time
			return true
		default:
			return false
		}
	})
	s.end(syscall.Signal(0))
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("status %d", code)
	}
}

// countDeploy counts each message at each client.
func countDeploy(t *testing.T, followers []*follower, last int, stream bool) {
	t.Helper()
	lost, told, connects := 0, 0, 0
	for i, f := range followers {
		missing := last - len(f.seen)
		lost, told, connects = lost+missing, told+f.told, connects+f.connects
		switch {
		case stream && (missing > 0 || f.told > 0):
			t.Errorf("client %d lacks %d of %d messages, told %d times", i, missing, last, f.told)
		case missing > 0 && f.told == 0:
			t.Errorf("client %d lacks %d of %d messages, and was not told", i, missing, last)
		case f.told < f.connects-1 && !stream:
			t.Errorf("client %d came back %d times and was told %d times", i, f.connects-1, f.told)
		}
	}
	t.Logf("%d clients connected %d times and lack %d, told %d times", len(followers), connects, lost, told)
	if connects < 2*len(followers) {
		t.Errorf("only %d connections: clients did not move", connects)
	}
}
