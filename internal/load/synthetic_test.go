package load_test

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/internal/process"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

// A service says when a message is answered that arrives at a time, on the clock of
// its server. It is called once for each message, in the order of their arrival.
type service func(arrived time.Duration) (answered time.Duration)

// fixed answers each message after the same time.
func fixed(after time.Duration) service {
	return func(arrived time.Duration) time.Duration { return arrived + after }
}

// bimodal answers most messages soon, and each nth late.
func bimodal(soon, late time.Duration, nth int) service {
	count := 0
	return func(arrived time.Duration) time.Duration {
		if count++; count%nth == 0 {
			return arrived + late
		}
		return arrived + soon
	}
}

// stalling answers after a time, but sends nothing for a while at the begin of each
// period: what is due then goes out at its end.
func stalling(after, stall, period time.Duration) service {
	return func(arrived time.Duration) time.Duration {
		due := arrived + after
		if begin := due.Truncate(period); due < begin+stall {
			return begin + stall
		}
		return due
	}
}

// queue has one server that takes the same time for each message: it does so many
// a second and no more.
func queue(perSecond int) service {
	free := time.Duration(0)
	return func(arrived time.Duration) time.Duration {
		free = max(free, arrived) + time.Second/time.Duration(perSecond)
		return free
	}
}

// synthetic is an echo server on a simulated network whose times are known: a
// service gives them, and reading and writing take none.
type synthetic struct {
	t      *testing.T
	net    *simnet.Network
	poller poller.Poller
	ln     poller.Listener
	world
	conns    map[poller.Token]*synthConn
	last     poller.Token
	requests int // so far
	due      answers
	in       []byte
	over     atomic.Bool
}

// synthConn is the server's end of a connection.
type synthConn struct {
	fd       int
	upgraded bool
	stream   bool // it is an event stream
	gone     bool
	unread   []byte // the begin of a head or a frame
}

// answer is a frame to be sent.
type answer struct {
	at    time.Duration
	order int
	conn  *synthConn
	frame []byte
}

// answers are in the order in which they are due, a heap.
type answers struct {
	all   []answer
	added int
}

func (a *answers) Len() int { return len(a.all) }
func (a *answers) Less(i, j int) bool {
	if a.all[i].at != a.all[j].at {
		return a.all[i].at < a.all[j].at
	}
	return a.all[i].order < a.all[j].order
}
func (a *answers) Swap(i, j int) { a.all[i], a.all[j] = a.all[j], a.all[i] }
func (a *answers) Push(x any)    { a.all = append(a.all, x.(answer)) }
func (a *answers) Pop() any {
	last := a.all[len(a.all)-1]
	a.all = a.all[:len(a.all)-1]
	return last
}

const synthAddress = "10.0.0.1:80"

// world is what a simulated run meets.
type world struct {
	service service
	toAll   bool                                  // each message is answered on all connections, event streams among them
	window  int                                   // bytes of a connection that may wait for the server; 0: 64 KiB
	frozen  func(now time.Duration) time.Duration // until when the server does nothing, not even read; nil: it never is
	forget  func()                                // a connection has ended; nil: the service does not mind
	stolen  func(now time.Duration) time.Duration // from the machine so far; nil: nothing
	client  func(*simnet.Network) poller.Dialer   // the client's way to the network; nil: the shortest
	// used is the CPU time of the server's process so far, and of our own; not ok: it is
	// not known. nil: the server's is not known, and ours what it really is.
	used   func(now time.Duration) (cpu time.Duration, ok bool)
	pieces int                                          // in which each answer is sent; 0: it is sent as a whole
	apart  time.Duration                                // from piece to piece
	admit  func(nth int) (after time.Duration, ok bool) // how long the nth upgrade takes, and whether it is refused; nil: none is, at once
}

// simulate does a plan in a world, in a bubble of testing/synctest: its clock, which
// simnet's follows there, moves only when all goroutines wait. So an hour takes as
// long as its messages, and each run gives the same times.
func simulate(t *testing.T, p result.Plan, w world) *result.Result {
	t.Helper()
	var r *result.Result
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Config{RealClock: true, RecvBuffer: w.window})
		srv := &synthetic{t: t, net: network, world: w, conns: map[poller.Token]*synthConn{}, in: make([]byte, 64<<10)}
		stop := srv.start()
		defer stop()
		var engine poller.Dialer = network
		if w.client != nil {
			engine = w.client(network)
		}
		p.URL, p.ServerPID, p.Timeout = "ws://"+synthAddress+"/", -1, cmp.Or(p.Timeout, time.Hour)
		m := load.Machine{Stolen: func() time.Duration {
			if w.stolen == nil {
				return 0
			}
			return w.stolen(network.Now())
		}}
		if w.used != nil {
			p.ServerPID = os.Getpid() // one that there is
			m.Usage = func(*process.Process) (process.Usage, error) {
				cpu, ok := w.used(network.Now())
				if !ok {
					return process.Usage{}, process.ErrNotSupported
				}
				return process.Usage{CPU: cpu}, nil
			}
		}
		var err error
		if r, err = load.RunOn(t.Context(), engine, m, p, load.Watch{}); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

func (s *synthetic) start() (stop func()) {
	var err error
	if s.ln, err = s.net.Listen("tcp", synthAddress); err != nil {
		s.t.Fatal(err)
	}
	if s.poller, err = s.net.NewPoller(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.poller.Add(s.ln.FD(), 0); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	return func() {
		s.over.Store(true)
		s.poller.Wake()
		<-done
		if v := s.net.Violations(); len(v) > 0 {
			s.t.Errorf("the network says: %v", v)
		}
	}
}

func (s *synthetic) serve() {
	events := make([]poller.Event, 1024)
	for !s.over.Load() {
		patience := time.Duration(-1)
		if s.due.Len() > 0 {
			patience = s.due.all[0].at - s.net.Now()
		}
		n, err := s.poller.Wait(events, patience)
		if err != nil {
			s.t.Errorf("wait: %v", err)
			return
		}
		if s.frozen != nil {
			time.Sleep(s.frozen(s.net.Now()) - s.net.Now())
		}
		for _, e := range events[:n] {
			if e.Token == 0 {
				s.accept()
			} else if c := s.conns[e.Token]; c != nil {
				s.read(c, e.Token)
			}
		}
		for s.due.Len() > 0 && s.due.all[0].at <= s.net.Now() {
			a := heap.Pop(&s.due).(answer)
			s.write(a.conn, a.frame)
		}
	}
}

func (s *synthetic) accept() {
	for {
		fd, _, err := s.ln.Accept()
		if err == poller.ErrAgain {
			return
		}
		s.last++
		if err == nil {
			err = s.poller.Add(fd, s.last)
		}
		if err != nil {
			s.t.Errorf("accept: %v", err)
			return
		}
		s.conns[s.last] = &synthConn{fd: fd}
	}
}

// read takes all that is there.
func (s *synthetic) read(c *synthConn, token poller.Token) {
	for {
		n, err := s.net.Read(c.fd, s.in)
		if err == poller.ErrAgain {
			break
		}
		if err != nil { // whatever it is, the client has gone
			s.close(c, token)
			return
		}
		c.unread = append(c.unread, s.in[:n]...)
	}
	if !c.upgraded && !s.upgrade(c) {
		return
	}
	for {
		op, payload, size := frameOf(c.unread)
		switch {
		case size == 0:
			return
		case op == ws.Close:
			s.write(c, ws.AppendFrame(nil, ws.Close, payload))
			s.close(c, token)
			return
		}
		s.answer(c, s.service(s.net.Now()), ws.AppendFrame(nil, op, payload))
		if s.toAll {
			s.answerOthers(c, ws.AppendFrame(nil, op, payload), sse.AppendEvent(nil, sse.Event{Data: payload}))
		}
		c.unread = c.unread[size:]
	}
}

// answerOthers answers on all connections but one, as a frame or as an event.
func (s *synthetic) answerOthers(c *synthConn, frame, event []byte) {
	at := s.service(s.net.Now())
	for token := poller.Token(1); token <= s.last; token++ {
		switch other := s.conns[token]; {
		case other == nil || other == c || !other.upgraded:
		case other.stream:
			s.answer(other, at, event)
		default:
			s.answer(other, at, frame)
		}
	}
}

// answer sends bytes from a time on.
func (s *synthetic) answer(c *synthConn, at time.Duration, b []byte) {
	piece := (len(b)-1)/max(s.pieces, 1) + 1
	for part := range slices.Chunk(b, piece) {
		s.due.added++
		heap.Push(&s.due, answer{at, s.due.added, c, part})
		at += s.apart
	}
}

// upgrade answers the request once it is whole.
func (s *synthetic) upgrade(c *synthConn) bool {
	end := bytes.Index(c.unread, []byte("\r\n\r\n"))
	if end < 0 {
		return false
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.unread[:end+4])))
	if err != nil {
		s.t.Errorf("request: %v", err)
		return false
	}
	c.unread = c.unread[end+4:]
	s.requests++
	after, ok := time.Duration(0), true
	if s.admit != nil {
		after, ok = s.admit(s.requests)
	}
	head := "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	if ok {
		c.upgraded, head = true, upgraded(request.Header.Get("Sec-WebSocket-Key"), "")
		if c.stream = request.Header.Get("Accept") == sse.ContentType; c.stream {
			head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
		}
	}
	if after == 0 {
		s.write(c, []byte(head))
	} else {
		s.due.added++
		heap.Push(&s.due, answer{s.net.Now() + after, s.due.added, c, []byte(head)})
	}
	return ok
}

func (s *synthetic) write(c *synthConn, b []byte) {
	if c.gone {
		return
	}
	n, err := s.net.Write(c.fd, b)
	gone := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) // its end comes as an event
	if n < len(b) && !gone {
		s.t.Errorf("%d of %d bytes were written: %v", n, len(b), err)
	}
}

func (s *synthetic) close(c *synthConn, token poller.Token) {
	c.gone = true
	if s.forget != nil {
		s.forget()
	}
	delete(s.conns, token)
	if err := s.poller.CloseFD(c.fd); err != nil {
		s.t.Errorf("close: %v", err)
	}
}

// frameOf takes a whole masked frame of at most 64 KiB from the begin of b, unmasked
// in place; size 0: there is none yet.
func frameOf(b []byte) (op ws.Opcode, payload []byte, size int) {
	if len(b) < 6 {
		return 0, nil, 0
	}
	length, head := int(b[1]&0x7f), 2
	if length == 126 {
		length, head = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	size = head + 4 + length
	if len(b) < size {
		return 0, nil, 0
	}
	key := b[head : head+4]
	payload = b[head+4 : size]
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return ws.Opcode(b[0] & 0xf), payload, size
}
