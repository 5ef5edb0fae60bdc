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

// grace is how much later than its connections the end of a server may be seen.
const grace = 200 * time.Millisecond

// lab runs servers under load, one at a time.
type lab struct {
	generator  generator
	serverPin  []string // what goes before a server's command
	clientPin  []string // and before the client's
	warmup     time.Duration
	duration   time.Duration
	startLimit time.Duration // until a server must listen
	runLimit   time.Duration // of a run
	port       int           // that was used last
}

// run starts a server, loads it, and ends it. The error is why there is no
// result that counts.
func (l *lab) run(ctx context.Context, s *server, sc scenario) (*measured, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.runLimit, fmt.Errorf("not done within %v", l.runLimit))
	defer cancel()
	port, err := l.freePort()
	if err != nil {
		return nil, err
	}
	p, err := start(slices.Concat(l.serverPin, s.at(host, port)), nil)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	whileItLives, release := p.bound(ctx)
	defer release()

	// What comes before the server's command becomes the server: it is its process.
	t := target{host: host, port: port, path: s.path, pid: p.cmd.Process.Pid}
	result, err := l.load(whileItLives, t, sc)
	switch {
	case err == nil:
		return result, nil
	case p.endsWithin(grace): // that is why, whatever the client says
		return nil, fmt.Errorf("server ended by itself: %s", p.fate())
	}
	// Without the port it is the same error in each run.
	return nil, errors.New(strings.ReplaceAll(err.Error(), net.JoinHostPort(host, port), "LISTEN"))
}

// load waits for the server and runs the client against it. The context ends
// with the server.
func (l *lab) load(ctx context.Context, t target, sc scenario) (*measured, error) {
	if err := l.listening(ctx, net.JoinHostPort(t.host, t.port)); err != nil {
		return nil, err
	}
	var stdout bytes.Buffer
	client, err := start(slices.Concat(l.clientPin, l.generator.command(sc, t, l.warmup, l.duration)), &stdout)
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
