package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/asynclog"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// starter starts a server on one of the networks and gives a way to connect.
type starter func(t *testing.T, configure func(*server.Server)) (connect func() *client, srv *server.Server)

// onBoth runs a test on a network in memory and on real sockets.
func onBoth(t *testing.T, test func(t *testing.T, start starter)) {
	t.Run("simnet", func(t *testing.T) { test(t, onSimnet) })
	t.Run("sockets", func(t *testing.T) { test(t, onSockets) })
}

// onAll is onBoth, the same with TLS, and what net/http hands over without a
// descriptor. With -short it is one of each: a loop in memory, a kernel and TLS, a
// stream of net/http.
func onAll(t *testing.T, test func(t *testing.T, start starter)) {
	if testing.Short() {
		t.Run("simnet", func(t *testing.T) { test(t, onSimnet) })
		t.Run("TLS on sockets", func(t *testing.T) { test(t, onTLSSockets) })
		t.Run("stream", func(t *testing.T) { test(t, onMounted(startStreams)) })
		return
	}
	onBoth(t, test)
	t.Run("TLS on simnet", func(t *testing.T) { test(t, onTLSSimnet) })
	t.Run("TLS on sockets", func(t *testing.T) { test(t, onTLSSockets) })
	t.Run("bridge", func(t *testing.T) { test(t, onMounted(startBridge)) })
	t.Run("stream", func(t *testing.T) { test(t, onMounted(startStreams)) })
	t.Run("bridge to TLS", func(t *testing.T) { test(t, onMounted(startTLSBridge)) })
}

// fewer is n, or a tenth of it in onAll's parts that are not onBoth's: what they
// have in common with those needs no second proof.
func fewer(t *testing.T, n int) int {
	if _, network, _ := strings.Cut(t.Name(), "/"); network == "simnet" || network == "sockets" {
		return n
	}
	return n / 10
}

func onSimnet(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
	n, addr, srv := startSim(t, simnet.Config{}, configure)
	return func() *client { return dialSim(t, n, addr) }, srv
}

func onSockets(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
	addr, srv := startServer(t, configure)
	return func() *client { return dial(t, addr) }, srv
}

func onMounted(start func(*testing.T, func(*server.Server)) (string, *server.Server)) starter {
	return func(t *testing.T, configure func(*server.Server)) (func() *client, *server.Server) {
		addr, srv := start(t, configure)
		return func() *client { return dial(t, addr) }, srv
	}
}

// slowedDown says whether the race detector makes everything ten times as slow.
var slowedDown = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// partly is n, or a quarter of it with -short: how often the same is done again is
// what the everyday tests leave to the thorough ones.
func partly(n int) int {
	if testing.Short() {
		n /= 4
	}
	return max(n, 1)
}

// scaled is partly n, or a tenth of that under the race detector.
func scaled(n int) int {
	if slowedDown() {
		n /= 10
	}
	return partly(n)
}

// logBook keeps what a server logs.
type logBook struct {
	mu    sync.Mutex
	text  bytes.Buffer
	queue *asynclog.Handler
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) logger() *slog.Logger { return b.loggerAt(slog.LevelInfo) }

func (b *logBook) loggerAt(level slog.Level) *slog.Logger {
	b.queue = asynclog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: level}))
	return slog.New(b.queue)
}

// String is all that was logged before the call.
func (b *logBook) String() string {
	if b.queue != nil {
		_ = b.queue.Flush(context.Background()) // Write never fails
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) count(text string) int { return strings.Count(b.String(), text) }

// staller holds up the handlers of messages that say "hold".
type staller struct {
	held    chan struct{} // one for each handler that is held
	release chan struct{} // closed: they go on
}

func newStaller() *staller {
	return &staller{held: make(chan struct{}, 100), release: make(chan struct{})}
}

// hold blocks if m says so.
func (s *staller) hold(m ws.Message) (held bool) {
	if string(m.Payload) != "hold" {
		return false
	}
	s.held <- struct{}{}
	<-s.release
	return true
}

// stall makes the one loop of a server with two workers stand still, until
// release is closed: what comes meanwhile makes one batch of events.
func (s *staller) stall(a, b *client) {
	for _, c := range []*client{a, b} {
		c.send(frame(opText, "hold"))
		<-s.held
	}
}

// twoWorkers is the smallest server, and one that can be stalled.
func twoWorkers(srv *server.Server) {
	srv.Runtime.Loops = 1
	srv.Runtime.Workers = 2
}

// onlyMessage is a handler of messages.
func onlyMessage(message func(*server.Conn, ws.Message)) handler { return handler{message: message} }
