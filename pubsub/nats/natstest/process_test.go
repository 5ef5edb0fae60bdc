package natstest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/pubsub/nats/natstest/natsd"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// nodeAddress is set in a process that is a node: where it listens. nodeNATS is the server of NATS.
const nodeAddress, nodeNATS = "MILLRACE_TEST_NODE", "MILLRACE_TEST_NATS"

func TestMain(m *testing.M) {
	if address := os.Getenv(nodeAddress); address != "" {
		if err := runNode(address, os.Getenv(nodeNATS)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(natsProgram) != "" {
		if err := natsd.Run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

// runNode is a node as a process. A client is subscribed to kept/t from the position in its query on, and is
// told whether it was recovered.
func runNode(address, natsURL string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := streamed(natsURL, "PR")
	o.Logger = quiet()
	srv := &server.Server{Addr: address, Logger: quiet()}
	hub, err := pubsub.New(srv, pubsub.Options{Broker: nats.New(o), Rules: []pubsub.Rule{{Filter: "kept/#", Messages: 1000}}})
	if err != nil {
		return err
	}
	defer func() { _ = hub.Close() }() // the process ends
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		return server.Accept{Value: r.Query().Get("since")}, nil
	}
	srv.Handler = server.HandlerFuncs{OnOpen: func(c *server.Conn) {
		text, _ := server.Value[string](c)
		since, err := pubsub.ParsePosition(text)
		if err != nil {
			c.Close(ws.CodePolicy, err.Error())
			return
		}
		s, err := hub.Subscribe(c, "kept/t", pubsub.SubscribeOptions{Since: since})
		if err != nil {
			c.Close(ws.CodePolicy, err.Error())
			return
		}
		_ = c.SendText(fmt.Sprint("recovered ", s.Recovered)) // or it has ended
	}}
	return srv.Run(ctx, server.DrainOptions{})
}

// process is a node as a process.
type process struct {
	*exec.Cmd
	address string
}

func startProcess(t *testing.T, natsURL string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{exec.Command(program), fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	p.Env = append(os.Environ(), nodeAddress+"="+p.address, nodeNATS+"="+natsURL)
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill() // it may have ended
		_ = p.Wait()
	})
	eventually(t, "a node that listens", func() bool {
		c, _, err := websocket.Dial(t.Context(), "ws://"+p.address+"/", nil)
		if err == nil {
			_ = c.CloseNow()
		}
		return err == nil
	})
	return p
}

// follow is a client that gets messages, from the one numbered next on, until its connection ends or it has
// all. It gives the number of the next one.
func follow(ctx context.Context, address string, since pubsub.Position, next, all int) (int, error) {
	c, _, err := websocket.Dial(ctx, "ws://"+address+"/?since="+url.QueryEscape(since.String()), nil)
	if err != nil {
		return next, nil // it has ended
	}
	defer func() { _ = c.CloseNow() }()
	for told := false; next < all || !told; {
		_, data, err := c.Read(ctx)
		if err != nil {
			return next, nil // likewise
		}
		if status, ok := strings.CutPrefix(string(data), "recovered "); ok {
			if told = true; status != "true" {
				return next, fmt.Errorf("not recovered behind message %d, %v", next-1, since)
			}
			continue
		}
		if string(data) != strconv.Itoa(next) {
			return next, fmt.Errorf("got %q, want %d", data, next)
		}
		next++
	}
	return next, nil
}

// TestProcesses: nodes are killed, and deployed anew one after the other, while somebody publishes: each client has
// every message, in order, once.
func TestProcesses(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	publisher := startNode(t, streamed(s.url(), "PR"))
	const messages, clients = 1500, 20
	at := make([]chan pubsub.Position, messages)
	for i := range at {
		at[i] = make(chan pubsub.Position, 1)
	}
	at[0] <- publisher.send("kept/t", "0").Position
	var mu sync.Mutex // guards nodes
	nodes := []*process{startProcess(t, s.url()), startProcess(t, s.url())}
	replace := func(i int, how os.Signal) {
		fresh := startProcess(t, s.url())
		mu.Lock()
		old := nodes[i]
		nodes[i] = fresh
		mu.Unlock()
		if err := old.Process.Signal(how); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			moves := 0
			for next := 1; next < messages; moves++ {
				since := <-at[next-1]
				at[next-1] <- since
				mu.Lock()
				address := nodes[(i+moves)%len(nodes)].address
				mu.Unlock()
				var err error
				if next, err = follow(ctx, address, since, next, messages); err != nil || ctx.Err() != nil {
					t.Errorf("client %d: %v, %v", i, err, ctx.Err())
					return
				}
			}
		})
	}
	for i := 1; i < messages; i++ {
		switch i {
		case messages / 4:
			replace(0, syscall.SIGKILL)
		case messages / 2:
			replace(1, syscall.SIGTERM)
		case messages * 3 / 4:
			replace(0, syscall.SIGTERM)
		}
		at[i] <- publisher.send("kept/t", strconv.Itoa(i)).Position
	}
	all.Wait()
}
