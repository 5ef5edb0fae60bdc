package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const host = "127.0.0.1"

// Servers get ports from here on, each run another one: below those that the
// system picks for outgoing connections, and none that an earlier run's
// connections still hold.
const (
	firstPort = 20000
	lastPort  = 31999
)

// settle is how long a slice is loaded before it is measured.
const settle = 100 * time.Millisecond

// grace is how much later than its connections the end of a server may be seen.
const grace = 200 * time.Millisecond

// lab runs servers under load, one at a time, or in turns.
type lab struct {
	generator  generator
	serverPin  []string // what goes before a server's command
	clientPin  []string // and before the client's
	warmup     time.Duration
	duration   time.Duration
	slice      time.Duration // of it
	startLimit time.Duration // until a server must listen
	runLimit   time.Duration // of a run, or of a turn
	serverCPUs string
	clientCPUs string
	mostStolen float64 // share of a slice
	port       int     // that was used last

	certificate certificate // of servers with TLS
}

// limited bounds what a run, or a turn, may take.
func (l *lab) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, l.runLimit, fmt.Errorf("not done within %v", l.runLimit))
}

// started is a server's process, and how to reach it.
type started struct {
	*process
	target
}

// startServer starts a server for a scenario, at a port of its own. Whoever does stops it.
func (l *lab) startServer(s *server, sc scenario) (*started, error) {
	port, err := l.freePort()
	if err != nil {
		return nil, err
	}
	p, err := start(slices.Concat(l.serverPin, s.under(sc, l.certificate).at(host, port)), nil, nil)
	if err != nil {
		return nil, err
	}
	// What comes before the server's command becomes the server: it is its process.
	return &started{p, target{host: host, port: port, path: s.path, pid: p.cmd.Process.Pid}}, nil
}

// why is the reason why something went wrong; nil: it did not.
func (s *started) why(err error) error {
	switch {
	case err == nil:
		return nil
	case s.endsWithin(grace): // that is why, whatever the client says
		return fmt.Errorf("server ended by itself: %s", s.fate())
	}
	// Without the port it is the same error in each run.
	return errors.New(strings.ReplaceAll(err.Error(), s.address(), "LISTEN"))
}

// run starts a server, loads it, and ends it. The error is why there is no
// result that counts.
func (l *lab) run(ctx context.Context, s *server, sc scenario) (*measured, error) {
	ctx, cancel := l.limited(ctx)
	defer cancel()
	sc = sc.of(s)
	server, err := l.startServer(s, sc)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	whileItLives, release := server.bound(ctx)
	defer release()
	result, err := l.load(whileItLives, server.target, sc)
	return result, server.why(err)
}

// load waits for the server and runs the client against it. The context ends
// with the server.
func (l *lab) load(ctx context.Context, t target, sc scenario) (*measured, error) {
	if err := l.listening(ctx, t.address()); err != nil {
		return nil, err
	}
	var stdout bytes.Buffer
	client, err := start(slices.Concat(l.clientPin, l.generator.command(sc, t, l.warmup, l.duration)), nil, &stdout)
	if err != nil {
		return nil, err
	}
	defer client.stop()
	select {
	case <-client.ended:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	result, err := l.generator.read(stdout.Bytes())
	if err == errNoResult {
		return nil, fmt.Errorf("client gave no result: %s", client.fate())
	}
	return result, err
}

// freePort gives a port that nobody listens on.
func (l *lab) freePort() (string, error) {
	for range lastPort - firstPort {
		if l.port++; l.port < firstPort || l.port > lastPort {
			l.port = firstPort
		}
		port := strconv.Itoa(l.port)
		if ln, err := net.Listen("tcp", net.JoinHostPort(host, port)); err == nil {
			return port, ln.Close()
		}
	}
	return "", fmt.Errorf("no free port from %d to %d", firstPort, lastPort)
}

// listening waits until a server accepts.
func (l *lab) listening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.startLimit, fmt.Errorf("server does not listen after %v", l.startLimit))
	defer cancel()
	var dialer net.Dialer
	for {
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
