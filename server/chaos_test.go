package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// chaos is a server with everything on, on a network that fails now and then, and
// peers that do what they like.
type chaos struct {
	t      *testing.T
	n      *simnet.Network
	addr   string
	srv    *server.Server
	seed   uint64
	web    *pipes      // to a server of net/http in which srv is mounted
	secure *tls.Config // of the peers; nil: plain
	ctx    context.Context
	cancel context.CancelFunc // the peers end
	calm   atomic.Bool        // no more faults
	tags   atomic.Int64

	clock sync.WaitGroup
	stop  chan struct{} // the clock stands still

	mu    sync.Mutex
	conns []*server.Conn // some, of the past and the present
}

const (
	chaosConns   = 18
	chaosPerAddr = 4
)

// chaosSeeds is how many seeds TestChaos takes: MILLRACE_CHAOS, or else one.
func chaosSeeds() uint64 {
	n, err := strconv.ParseUint(os.Getenv("MILLRACE_CHAOS"), 10, 16)
	if err != nil {
		return 1
	}
	return n
}

// TestChaos: whatever peers and network do, each Open has one Close (the ledger
// sees), each byte is its own connection's (the peers see), and in the end no
// descriptor, goroutine or account is left open.
func TestChaos(t *testing.T) {
	ends := map[string]func(*chaos, *sync.WaitGroup){
		"quiet in the end": (*chaos).settle, "drained in the midst": (*chaos).drain, "closed in the midst": (*chaos).close,
	}
	for seed := range chaosSeeds() {
		for name, end := range ends {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) { testChaos(t, seed, nil, end) })
			t.Run(fmt.Sprint(name, ", TLS ", seed), func(t *testing.T) { testChaos(t, seed, clientTLS(), end) })
		}
	}
}

func testChaos(t *testing.T, seed uint64, secure *tls.Config, end func(*chaos, *sync.WaitGroup)) {
	before := runtime.NumGoroutine()
	t.Run("server", func(t *testing.T) { // its cleanups are done before the goroutines are counted
		c := &chaos{t: t, seed: seed, secure: secure}
		c.ctx, c.cancel = context.WithCancel(t.Context())
		defer c.cancel()
		c.n, c.addr, c.srv = startSim(t, simnet.Config{Script: c.script, SendBuffer: 6000, RecvBuffer: 9000, StaleEvents: true, AckOnRead: seed%2 == 1}, c.configure)
		c.web = mountOnPipes(t, c.srv)
		c.runClock()
		defer c.haltClock()
		var peers sync.WaitGroup
		peers.Go(c.haunt)
		for i := range uint64(30) {
			peers.Go(func() { c.comeAndGo(rand.New(rand.NewPCG(seed, i))) })
		}
		lives := uint64(30 + scaled(400))
		eventually(t, "many lives", func() bool { return c.srv.Stats().Upgraded > lives })
		end(c, &peers)
		s := c.srv.Stats()
		t.Logf("%d upgraded, %+v, closes %v, refusals %v, limits %v, drain %+v", s.Upgraded, s.EventStreams, s.Closes, s.Refusals, s.Limits, s.Drain)
		c.expectNothingLeft()
	})
	eventually(t, "no goroutine to be left", func() bool { return runtime.NumGoroutine() <= before })
}

// configure turns everything on, with bounds that are met.
func (c *chaos) configure(srv *server.Server) {
	srv.Runtime.Loops, srv.Runtime.Workers = 3, 20
	srv.Proxy.Protocol = true
	srv.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	srv.Limits.Conns, srv.Limits.ConnsPerAddr, srv.Limits.Handshakes = chaosConns, chaosPerAddr, 15
	srv.Limits.HandshakeRate, srv.Limits.HandshakeBurst = 40, chaosConns+5
	srv.Limits.Message, srv.Queue.Max, srv.Limits.QueueMemory = 64<<10, 64<<10, 200<<10
	srv.Queue.HighWater, srv.Limits.InboundMemory, srv.Timeouts.Message = 8<<10, 200<<10, 2*time.Second
	srv.Limits.MessageRate, srv.Limits.MessageBurst = 50, 300
	srv.Limits.ByteRate, srv.Limits.ByteBurst = 20<<10, 120<<10
	srv.Timeouts.Handshake, srv.Timeouts.Write, srv.Timeouts.Close = 5*time.Second, 4*time.Second, 2*time.Second
	srv.Keepalive.Interval, srv.Timeouts.Idle, srv.Timeouts.Lifetime = 3*time.Second, 20*time.Second, 30*time.Second
	srv.Deflate = &server.Deflate{ServerTakeover: true, Threshold: -1, ServerMaxWindowBits: 10, MaxWindows: 10 << 10}
	srv.HTTP, srv.EventStreams = http.HandlerFunc(answerPlain), true
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		tag := strings.TrimPrefix(r.Path(), "/")
		return server.Accept{EventStream: r.EventStream(), Value: tag, Limits: chaosLimits[c.tags.Load()%int64(len(chaosLimits))]}, nil
	}
	srv.Handler = handler{open: c.open, message: c.message}
	if c.secure != nil {
		withTLS(nil)(srv)
	}
}

// chaosLimits are limits of connections' own, none of which ends a peer's life before it
// would end by the server's.
var chaosLimits = []*server.ConnLimits{
	nil,
	{Message: 70 << 10, Queue: server.Queue{HighWater: 16 << 10}},
	{MessageRate: -1, ByteRate: -1, Timeouts: server.ConnTimeouts{Idle: -1}},
	{MessageRate: 100, Timeouts: server.ConnTimeouts{Idle: 25 * time.Second, Message: -1}, PingInterval: 2 * time.Second},
}

func (c *chaos) open(conn *server.Conn) {
	_ = conn.SendText(conn.Value().(string) + "|0|hello|") // closing: as it should
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns = append(c.conns, conn); len(c.conns) > 200 {
		c.conns = c.conns[100:]
	}
}

// message does what the message asks for, and echoes it.
func (c *chaos) message(conn *server.Conn, m ws.Message) {
	tag := conn.Value().(string)
	parts := strings.SplitN(string(m.Payload), "|", 4)
	if len(parts) != 4 || parts[0] != tag || strings.ReplaceAll(parts[3], tag, "") != "" {
		if string(m.Payload) != strings.Repeat("x", len(m.Payload)) { // what badFrame sends
			c.t.Errorf("%s gets %.200q", tag, m.Payload)
		}
		return
	}
	switch parts[2] {
	case "hold":
		time.Sleep(time.Duration(4+c.seed%3) * time.Millisecond)
	case "panic":
		panic("as it was asked to")
	case "pause":
		pause(conn)
	case "close":
		_ = conn.Close(ws.CodeNormal, "as you wish") // it may be closing
	case "burst":
		for range 40 {
			_ = conn.SendText(ghost(tag, 400)) // until the queue is full
		}
	}
	_ = conn.Send(m.Opcode, m.Payload)
}

// pause has conn not be read for some milliseconds.
func pause(conn *server.Conn) {
	conn.PauseReading()
	time.AfterFunc(3*time.Millisecond, conn.ResumeReading)
}

func ghost(tag string, times int) string { return tag + "|?|ghost|" + strings.Repeat(tag, times) }

// haunt sends to connections of the past and the present, pauses and closes some.
func (c *chaos) haunt() {
	for i := 0; c.ctx.Err() == nil; i++ {
		c.mu.Lock()
		conns := c.conns
		c.mu.Unlock()
		for _, conn := range conns {
			_ = conn.SendText(ghost(conn.Value().(string), i%5))
			if i++; i%997 == 0 {
				_ = conn.Close(ws.CodeServiceRestart, "by chance")
			}
			if i%301 == 0 {
				pause(conn)
			}
			if own := chaosLimits[i%len(chaosLimits)]; own != nil && i%53 == 0 {
				_ = conn.SetLimits(*own) // it may be closed
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// script fails some calls, cuts the others short.
func (c *chaos) script(call simnet.Call) simnet.Verdict {
	r := rand.New(rand.NewPCG(c.seed<<8|uint64(call.Op), uint64(call.Number)<<32|uint64(call.Seq))).IntN(1000)
	switch isIO := call.Op == simnet.OpRead || call.Op == simnet.OpWrite; {
	case c.calm.Load():
		return simnet.Verdict{}
	case call.Op == simnet.OpAccept && r < 10:
		return simnet.Verdict{Err: syscall.EMFILE}
	case call.Op == simnet.OpAdd && r < 10:
		return simnet.Verdict{Err: syscall.ENOSPC}
	case isIO && r == 0:
		return simnet.Verdict{Reset: true}
	}
	return simnet.Chop(c.seed)(call)
}

// runClock moves the clock faster than time does, but not by more than peers can
// follow.
func (c *chaos) runClock() {
	stop := make(chan struct{})
	c.stop = stop
	c.clock.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				c.n.Advance(20 * time.Millisecond)
			}
		}
	})
}

func (c *chaos) haltClock() {
	if c.stop != nil {
		close(c.stop)
		c.clock.Wait()
		c.stop = nil
	}
}

// comeAndGo lives one peer's life after another, every fourth by net/http.
func (c *chaos) comeAndGo(random *rand.Rand) {
	for c.ctx.Err() == nil {
		p := &peer{chaos: c, random: random, tag: fmt.Sprintf("t%06dz", c.tags.Add(1))}
		if p.dial() != nil {
			return // it listens no more
		}
		conn := p.conn
		over := context.AfterFunc(c.ctx, func() { _ = conn.Close() }) // it may be closed
		if err := p.begin(); err == nil {
			err = p.live()
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				c.t.Errorf("%s: nothing happens to it", p.tag)
			case errors.Is(err, errRefused) || c.secure != nil && errors.Is(err, io.EOF):
				time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond) // as Retry-After asks
			}
		}
		if p.raw != nil && random.IntN(3) == 0 {
			p.raw.Reset()
		}
		_ = conn.Close() // it may be closed
		over()
	}
}

func (p *peer) dial() (err error) {
	if p.random.IntN(4) == 0 {
		p.conn, err = p.web.dial()
		return err
	}
	p.raw, err = p.n.Dial(p.addr)
	p.conn = p.raw
	return err
}

// begin sends the PROXY header, a wrong one now and then.
func (p *peer) begin() error {
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	p.r = bufio.NewReader(p.conn)
	if p.conn != p.raw {
		return nil
	}
	header := chaosProxy(p.random.IntN(10))
	if p.random.IntN(20) == 0 {
		header = header[p.random.IntN(len(header)):]
	}
	err := p.write(header)
	if p.secure != nil && p.random.IntN(20) != 0 {
		p.conn = tls.Client(p.raw, p.secure)
		p.r = bufio.NewReader(p.conn)
	}
	return err
}

// chaosProxy is the header for the connection of a client at one of many addresses.
func chaosProxy(client int) string {
	return fmt.Sprintf("PROXY TCP4 203.0.113.%d 198.51.100.1 4444 443\r\n", client)
}

// settle lets the peers end, and then looks by its bounds whether the server has
// taken all of them off its accounts.
func (c *chaos) settle(peers *sync.WaitGroup) {
	c.calm.Store(true)
	c.cancel()
	peers.Wait()
	eventually(c.t, "all to be gone", func() bool {
		return c.srv.Stats().Open == 0 && c.srv.DrainProgress().HTTP == 0
	})
	c.expectAccounts()
	time.Sleep(50 * time.Millisecond) // a second on the server's clock: the handshakes' bucket is full again
	c.haltClock()
	var opened []*client
	for i := range chaosConns {
		opened = append(opened, c.connect(i/chaosPerAddr))
		opened[i].expectSwitch()
	}
	c.connect(100).expectRefusal(http.StatusServiceUnavailable) // one too many in all
	c.expectTurnedDown(0)
	for _, conn := range opened {
		conn.reset()
	}
	c.runClock()
	c.drain(peers)
}

// expectTurnedDown connects once too often from an address.
func (c *chaos) expectTurnedDown(addr int) {
	if c.secure == nil {
		c.connect(addr).expectRefusal(http.StatusServiceUnavailable)
		return
	}
	raw, err := c.n.Dial(c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	conn := newClient(c.t, raw)
	conn.send(chaosProxy(addr))
	conn.expectEnd() // before a TLS handshake no answer can be read
}

// connect asks for an upgrade in the name of a client.
func (c *chaos) connect(addr int) *client {
	raw, err := c.n.Dial(c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	conn := newClient(c.t, raw)
	conn.send(chaosProxy(addr))
	if c.secure != nil {
		conn = newClient(c.t, tls.Client(raw, c.secure))
	}
	conn.send("GET /probe HTTP/1.1\r\n" + upgradeLines + "\r\n")
	return conn
}

// drain drains the server at a pace, while the peers go on.
func (c *chaos) drain(peers *sync.WaitGroup) {
	err := c.srv.Drain(context.Background(), server.DrainOptions{Delay: 20 * time.Millisecond, Rate: 20, Timeout: patience})
	if err != nil {
		c.t.Errorf("Drain: %v", err)
	}
	c.cancel()
	peers.Wait()
}

func (c *chaos) close(peers *sync.WaitGroup) {
	_ = c.srv.Close() // always nil
	c.cancel()
	peers.Wait()
}

func (c *chaos) expectNothingLeft() {
	expectAccounts(c.t, c.srv)
	c.expectAccounts()
}

// expectAccounts: what was counted in is counted out.
func (c *chaos) expectAccounts() {
	c.t.Helper()
	s := c.srv.Stats()
	if s.Open != 0 || s.States != (server.States{}) || s.Bridged != 0 || s.Windows != 0 || s.Backlog != 0 || s.Inbound != 0 || s.Paused != 0 || s.EventStreams.Open != 0 {
		c.t.Errorf("accounts: open %d, states %+v, bridged %d, windows %d, backlog %d, inbound %d, paused %d, event streams %+v; want none",
			s.Open, s.States, s.Bridged, s.Windows, s.Backlog, s.Inbound, s.Paused, s.EventStreams)
	}
}
