package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// subscribed begins the first message of a node to a client. Behind it come whether nothing is missing, and the position, if
// the node has one.
const subscribed = "subscribed "

const (
	atOnce = 1000 // connections that are under way
	text   = 0x81 // the first byte of a frame with a whole text
	ping   = 0x89
	pong   = 0x8a
)

// crowd are clients of a node. What they get are numbers, each one more than the one before.
type crowd struct {
	url       string
	clients   []*client
	came      atomic.Int64 // messages, all clients together
	recovered atomic.Int64 // clients that were told that nothing is missing
	wrong     atomic.Pointer[error]
}

// client is one of them.
type client struct {
	crowd    *crowd
	conn     net.Conn
	position string // where its subscription begins; once it has what was before this is where it goes on
	last     int64  // number that came; 0: none
	ended    chan struct{}
}

// gather connects so many clients, those from before with their positions, and returns when all are subscribed.
func (c *crowd) gather(ctx context.Context, n int) error {
	for len(c.clients) < n {
		c.clients = append(c.clients, &client{crowd: c})
	}
	c.recovered.Store(0)
	var all sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, one := range c.clients {
		if one.conn != nil {
			continue
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			if err := one.connect(ctx); err != nil {
				c.fail(err)
			}
		})
	}
	all.Wait()
	return c.err()
}

// leave ends the connections of all but the first few.
func (c *crowd) leave(left int) {
	for _, one := range c.clients[left:] {
		_ = one.conn.(*net.TCPConn).SetLinger(0) // no address stays taken
		_ = one.conn.Close()
		<-one.ended
		one.conn = nil
	}
}

func (c *crowd) fail(err error) { c.wrong.CompareAndSwap(nil, &err) }

func (c *crowd) err() error {
	if err := c.wrong.Load(); err != nil {
		return *err
	}
	return nil
}

// wait waits until so many messages have come, all clients together.
func (c *crowd) wait(ctx context.Context, came int64) error {
	for begin := time.Now(); c.came.Load() < came; time.Sleep(200 * time.Microsecond) {
		switch {
		case c.err() != nil:
			return c.err()
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(begin) > patience:
			return fmt.Errorf("%d messages came, want %d", c.came.Load(), came)
		}
	}
	return c.err()
}

// connect connects a client, and waits until it is subscribed.
func (c *client) connect(ctx context.Context) error {
	conn, r, err := dial(ctx, c.crowd.url, c.position)
	if err != nil {
		return err
	}
	first, err := readFrame(r)
	if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(string(first), subscribed)
	if !ok {
		return fmt.Errorf("a node said %q", first)
	}
	whole, position, _ := strings.Cut(rest, " ")
	if c.position = position; whole == "true" {
		c.crowd.recovered.Add(1)
	} else {
		c.last = 0
	}
	begun := make([]byte, r.Buffered())
	_, _ = io.ReadFull(r, begun) // they are there
	c.conn, c.ended = conn, make(chan struct{})
	go c.read(begun)
	return nil
}

// dial opens a WebSocket connection.
func dial(ctx context.Context, base, since string) (net.Conn, *bufio.Reader, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, nil, err
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, nil, err
	}
	_, err = fmt.Fprintf(conn, "GET /?since=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", url.QueryEscape(since), u.Host)
	r := bufio.NewReaderSize(conn, 1024)
	if err == nil {
		var answer *http.Response
		if answer, err = http.ReadResponse(r, nil); err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(answer.Status)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, r, nil
}

// readFrame reads a short frame, and gives its payload.
func readFrame(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, head[1])
	_, err := io.ReadFull(r, payload)
	if err == nil && head[0] != text {
		err = fmt.Errorf("a frame of kind %#x: %q", head[0], payload)
	}
	return payload, err
}

// read reads until the connection ends. begun is what has come already.
func (c *client) read(begun []byte) {
	defer close(c.ended)
	buffer := make([]byte, 2048)
	for have := copy(buffer, begun); ; {
		used, came, err := c.take(buffer[:have])
		c.crowd.came.Add(came)
		if err != nil {
			c.crowd.fail(err)
			return
		}
		have = copy(buffer, buffer[used:have])
		n, err := c.conn.Read(buffer[have:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.crowd.fail(fmt.Errorf("a connection: %w", err))
			return
		}
		have += n
	}
}

// take looks at the whole frames that are there.
func (c *client) take(in []byte) (used int, came int64, err error) {
	for {
		rest := in[used:]
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return used, came, nil
		}
		payload := rest[2 : 2+rest[1]]
		used += 2 + len(payload)
		switch {
		case rest[0] == ping:
			_, err = c.conn.Write(masked(pong, payload))
		case rest[0] != text || len(payload) > 125:
			err = fmt.Errorf("a frame of kind %#x, %q", rest[0], payload)
		default:
			came++
			err = c.number(payload)
		}
		if err != nil {
			return used, came, err
		}
	}
}

// number checks that a message is the one behind the last one.
func (c *client) number(payload []byte) error {
	digits, _, _ := strings.Cut(string(payload[:min(len(payload), 16)]), " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || c.last > 0 && n != c.last+1 {
		return fmt.Errorf("%q behind message %d", payload, c.last)
	}
	c.last = n
	return nil
}

// masked is a short frame of a client.
func masked(kind byte, payload []byte) []byte {
	frame := append(make([]byte, 0, 6+len(payload)), kind, 0x80|byte(len(payload)))
	frame = binary.BigEndian.AppendUint32(frame, 0) // a mask that leaves all as it is
	return append(frame, payload...)
}

// publisher is a client that publishes numbers. It is subscribed too.
type publisher struct {
	conn  net.Conn
	size  int
	last  int64
	ended chan struct{}
}

// startPublisher connects one.
func startPublisher(ctx context.Context, url string, size int) (*publisher, error) {
	conn, r, err := dial(ctx, url, "")
	if err != nil {
		return nil, err
	}
	p := &publisher{conn, size, 0, make(chan struct{})}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, r) // until end
	}()
	return p, nil
}

// publish publishes the next number.
func (p *publisher) publish() error {
	p.last++
	payload := fmt.Appendf(nil, "%d ", p.last)
	for len(payload) < p.size {
		payload = append(payload, '.')
	}
	_, err := p.conn.Write(masked(text, payload))
	return err
}

func (p *publisher) end() {
	_ = p.conn.Close()
	<-p.ended
}
