package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestContextBehindHook: the peer goes while the hook is slow, the hook accepts all the
// same, and Open waits for the end of the connection's context.
func TestContextBehindHook(t *testing.T) {
	for name, start := range map[string]starter{"simnet": onSimnet, "sockets": onSockets, "wrapped": onWrapped, "TLS listener": onTLSListener} {
		t.Run(name, func(t *testing.T) {
			in, told := make(chan struct{}), make(chan string, 1)
			connect, _ := start(t, func(s *server.Server) {
				s.Upgrade = func(r *ws.Request) (server.Accept, error) {
					close(in)
					<-r.Context().Done()
					return server.Accept{}, nil
				}
				s.Handler = handler{open: func(c *server.Conn) {
					select {
					case <-c.Context().Done():
						told <- context.Cause(c.Context()).Error()
					case <-time.After(2 * time.Second):
						told <- "nobody told"
					}
				}}
			})
			c := connect()
			c.send(upgradeTo("/"))
			<-in
			c.closeWrite()
			if got := <-told; got == "nobody told" {
				t.Error(got)
			}
		})
	}
}

// lastWords gives the last bytes together with the end, as an io.Reader may, and as
// crypto/tls does.
type lastWords struct {
	net.Conn
	last string // the request or the message
}

func (l lastWords) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 && (l.last == "request") == (p[0] == 'G') {
		return n, io.EOF
	}
	return n, err
}

// TestContextBehindLastWords: it ends also if the reader of a bridge has met the end
// together with the last bytes.
func TestContextBehindLastWords(t *testing.T) {
	for _, last := range []string{"request", "message"} {
		t.Run(last, func(t *testing.T) {
			told := make(chan error, 1)
			wait := func(ctx context.Context) {
				select {
				case <-ctx.Done():
				case <-time.After(patience):
				}
				told <- context.Cause(ctx)
			}
			_, srv := onSockets(t, func(s *server.Server) {
				s.Upgrade = func(r *ws.Request) (server.Accept, error) {
					if last == "request" {
						wait(r.Context())
					}
					return server.Accept{}, nil
				}
				s.Handler = onlyMessage(func(c *server.Conn, _ ws.Message) { wait(c.Context()) })
			})
			here, there := net.Pipe()
			if err := srv.ServeConn(lastWords{there, last}); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, here)
			if last == "request" {
				c.send(upgradeTo("/"))
			} else {
				c.upgraded().send(frame(opText, "go"))
			}
			if err := <-told; err == nil || !strings.Contains(err.Error(), "the peer ended the connection") {
				t.Errorf("cause %v", err)
			}
		})
	}
}

// stallingLog blocks where the server asks whether to tell of a slow turn: between a slow
// hook and Open.
type stallingLog struct {
	slog.Handler
	stall func()
}

func (l stallingLog) Enabled(_ context.Context, level slog.Level) bool {
	if level == slog.LevelDebug {
		l.stall()
	}
	return false
}

// TestContextBehindLateHook: the handshake's time is over when the hook has returned already,
// and the connection is opened: its context goes on.
func TestContextBehindLateHook(t *testing.T) {
	stalled, goOn, told := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	once := sync.Once{}
	in, release := make(chan struct{}), make(chan struct{})
	n, addr, srv := startSim(t, simnet.Config{}, func(s *server.Server) {
		s.Runtime.Loops = 1
		s.Logger = slog.New(stallingLog{slog.DiscardHandler, func() { once.Do(func() { close(stalled); <-goOn }) }})
		s.Upgrade = func(*ws.Request) (server.Accept, error) {
			close(in)
			<-release
			return server.Accept{}, nil
		}
		s.Handler = handler{open: func(c *server.Conn) { told <- context.Cause(c.Context()) }}
	})
	c := dialSim(t, n, addr)
	c.send(upgradeTo("/"))
	<-in
	eventually(t, "the loop is taken", func() bool { return srv.Stats().Handovers > 0 })
	close(release)
	<-stalled
	for range 150 {
		n.Advance(100 * time.Millisecond)
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	if got := <-told; got != nil {
		t.Errorf("the context of an open connection has ended: %v", got)
	}
	c.expectSwitch()
}
