package server

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/loop"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

// # Looking at connections
//
// Conns walks all connections, in the loops' tables, which are the leaders'. So
// each loop walks its own, a slice of the table in each round between the turns
// of others, and keeps the best few. It changes nothing and calls no handler.

// ConnOrder says which connections Server.Conns gives, and which first.
type ConnOrder uint8

const (
	ByQueue   ConnOrder = iota // most bytes in the outbound queue
	ByAge                      // longest connected
	ByBytes                    // most bytes, both ways
	ByInbound                  // most bytes of memory in what is received and not handled
	ByRTT                      // longest way; all alike where the engine is no poller.Meter
)

const (
	// MaxListed is the most that Server.Conns gives.
	MaxListed = 1000

	slotsPerVisit  = 1000 // a look takes less than 0.1 ms
	slotsAVisitRTT = 250  // each needs a system call of 0.4 us
)

// ErrNoConn: there is no connection with this id, or no longer.
var ErrNoConn = errors.New("server: no such connection")

// ConnID names a connection, among those of all servers and processes: an id is not
// used again. It may be compared and be a map's key.
type ConnID struct {
	server uint64 // a random number
	loop   uint32
	token  poller.Token
}

// String is the id as ParseConnID reads it: server, loop, place and generation.
func (id ConnID) String() string {
	return fmt.Sprintf("%016x.%d.%d.%d", id.server, id.loop, uint32(id.token), id.token>>32)
}

// ParseConnID reads what ConnID.String gives.
func ParseConnID(text string) (id ConnID, err error) {
	server, place, _ := strings.Cut(text, ".")
	id.server, err = strconv.ParseUint(server, 16, 64)
	parts := strings.Split(place, ".")
	var n [3]uint64
	if err != nil || len(parts) != len(n) {
		return ConnID{}, fmt.Errorf("server: %q is no connection id: want four numbers with dots between them", text)
	}
	for i, part := range parts {
		if n[i], err = strconv.ParseUint(part, 10, 32); err != nil {
			return ConnID{}, fmt.Errorf("server: %q is no connection id: %q is no number of it", text, part)
		}
	}
	id.loop, id.token = uint32(n[0]), poller.Token(n[2])<<32|poller.Token(n[1])
	if id.String() != text {
		return ConnID{}, fmt.Errorf("server: %q is no connection id: it is not written as one", text)
	}
	return id, nil
}

// MarshalText implements encoding.TextMarshaler: as String.
func (id ConnID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: as ParseConnID.
func (id *ConnID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseConnID(string(text))
	return err
}

// ID is the connection's, from Open on and also after its end.
func (c *Conn) ID() ConnID {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := ConnID{server: c.loop.srv.instance, loop: c.loop.index}
	if c.facts != nil && c.facts.left != 0 {
		id.token = ^c.facts.left
	} else {
		id.token = c.loop.Token(&c.seat)
	}
	return id
}

// keepID notes the id of a connection that leaves its place, which may then be another's.
func (c *Conn) keepID() {
	if c.handler != nil {
		c.mu.Lock()
		c.ownFacts().left = ^c.loop.Token(&c.seat)
		c.mu.Unlock()
	}
}

// ConnInfo is how a connection stands.
type ConnInfo struct {
	ID          ConnID
	Remote      netip.AddrPort
	RemoteName  string // Remote for people, see Conn.RemoteName
	State       string // "handshake", "open", "closing" or "ending", see States
	Subprotocol string
	Transport   string        // "plain", "tls", or "bridge" if goroutines of net/http's carry it
	Deflate     bool          // messages may be compressed
	EventStream bool          // it is one, and no WebSocket
	Age         time.Duration // since it was accepted, to a tenth of a second
	Silent      time.Duration // since the last sign of life from the peer, likewise
	RTT         time.Duration // 0: unknown
	Blocked     bool          // its handler is slow and has lost the loop
	Paused      bool          // it is not read now: see Server.Queue.HighWater and Conn.PauseReading
	Inbound     int64         // memory of what is received and not handled; 0 while Blocked
	Stats
}

// Conns gives at most as many connections as asked for, and as MaxListed, those
// that come first in the given order. Connections come and go meanwhile: it is a
// look, not a snapshot. It costs every loop a walk through its connections, in
// slices of less than 0.1 ms, and returns early with what is known when ctx is done,
// as when a loop waits for its handlers. Before the first use there are none.
func (s *Server) Conns(ctx context.Context, by ConnOrder, most int) ([]ConnInfo, error) {
	if !s.started.Load() {
		return nil, nil
	}
	most = max(min(most, MaxListed), 0)
	var walks []*walk
	for _, l := range s.loops {
		w := &walk{ctx: ctx, loop: l, by: by, most: most, done: make(chan struct{})}
		if most > 0 && l.PostTask(w) {
			walks = append(walks, w)
		}
	}
	var all ranking
	for _, w := range walks {
		select {
		case <-w.done:
			all = append(all, w.best...)
		case <-ctx.Done():
			return all.infos(most), ctx.Err()
		}
	}
	return all.infos(most), nil
}

// walk is one loop's part of a call of Conns. It is the leader's until done is
// closed.
type walk struct {
	ctx  context.Context
	loop *shard
	by   ConnOrder
	most int
	next int // place in the table
	best ranking
	done chan struct{}
}

// Do implements loop.Task: it looks at the next slice of the table.
func (w *walk) Do() (again bool) {
	if w.ctx.Err() != nil {
		return false // nobody waits any more
	}
	slots := slotsPerVisit
	if w.by == ByRTT {
		slots = slotsAVisitRTT
	}
	if w.next, again = w.loop.Each(w.next, slots, w.consider); !again {
		close(w.done)
	}
	return again
}

// consider keeps c if it is among the best so far.
func (w *walk) consider(m *member, since tick, token poller.Token) {
	c := (*Conn)(m)
	r := ranked{conn: c}
	now := c.loop.Now()
	if !c.seat.Away() && c.in != nil {
		r.Inbound = c.in.charged.Load()
	}
	switch w.by {
	case ByInbound:
		r.key = uint64(r.Inbound)
	case ByAge:
		r.key = uint64(now - since)
	case ByRTT:
		r.RTT = c.rtt()
		r.key = uint64(r.RTT)
	default:
		r.Stats = c.Stats()
		r.key = r.BytesIn + r.BytesOut
		if w.by == ByQueue {
			r.key = uint64(r.Queued)
		}
	}
	if len(w.best) == w.most && r.key <= w.best[0].key {
		return
	}
	r.ID = ConnID{c.loop.srv.instance, c.loop.index, token}
	r.Age = (now - since).Time()
	r.Silent = now.Time() - min(now, tick(c.active.Load())).Time()
	r.Blocked = c.seat.Away()
	r.Paused, r.EventStream = c.paused(), c.IsEventStream()
	heap.Push(&w.best, r)
	if len(w.best) > w.most {
		heap.Pop(&w.best)
	}
}

// ranked is a connection with the number it is ordered by.
type ranked struct {
	key  uint64
	conn *Conn
	ConnInfo
}

// ranking is a heap with the last in the order on top.
type ranking []ranked

func (r ranking) Len() int           { return len(r) }
func (r ranking) Less(i, j int) bool { return r[i].key < r[j].key }
func (r ranking) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranking) Push(x any)        { *r = append(*r, x.(ranked)) }

func (r *ranking) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = (*r)[:last]
	return x
}

// infos are the first in the order, completed with what any goroutine may ask.
func (r ranking) infos(most int) []ConnInfo {
	slices.SortFunc(r, func(a, b ranked) int { return cmp.Compare(b.key, a.key) })
	infos := make([]ConnInfo, 0, min(most, len(r)))
	for _, c := range r[:cap(infos)] {
		info := c.ConnInfo
		info.Remote, info.State, info.Subprotocol = c.conn.RemoteAddr(), c.conn.stateNow().name(), c.conn.Subprotocol()
		info.RemoteName = c.conn.RemoteName()
		info.Transport, info.Deflate = c.conn.transport(), c.conn.Deflate().Agreed()
		info.Stats = c.conn.Stats()
		if info.RTT == 0 {
			info.RTT = c.conn.rtt()
		}
		infos = append(infos, info)
	}
	return infos
}

// name is the state's, as in States.
func (s connState) name() string {
	switch {
	case s < stateOpen:
		return "handshake"
	case s == stateOpen:
		return "open"
	case s == stateClosing:
		return "closing"
	}
	return "ending"
}

// transport is what carries the connection's bytes.
func (c *Conn) transport() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.stream().(type) {
	case *tlsStream:
		return "tls"
	case *bridge:
		return "bridge"
	}
	return "plain"
}

// rtt is the round-trip time to the peer, 0 if it is not known.
func (c *Conn) rtt() time.Duration {
	meter, ok := c.loop.engine.(poller.Meter)
	if !ok {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stateNow() >= stateClosed || c.fd < 0 {
		return 0
	}
	rtt, _ := meter.RTT(int(c.fd)) // 0 on an error: no TCP
	return rtt
}

// CloseConn closes the connection with this id: an open one with a code and a
// reason, as Conn.Close does, any other at once. ErrNoConn: there is none. It
// waits for the connection's loop until ctx is done.
func (s *Server) CloseConn(ctx context.Context, id ConnID, code ws.Code, reason string) error {
	c, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	if err := c.Close(code, reason); !errors.Is(err, ErrClosed) {
		return err
	}
	if !c.loop.Post(c.member(), stopped) {
		return ErrNoConn
	}
	return nil
}

// find asks a loop for its connection.
func (s *Server) find(ctx context.Context, id ConnID) (*Conn, error) {
	if !s.started.Load() || id.server != s.instance || int(id.loop) >= len(s.loops) {
		return nil, ErrNoConn
	}
	found := make(chan *Conn, 1)
	l := s.loops[id.loop]
	look := func() (again bool) {
		found <- (*Conn)(l.Find(id.token))
		return false
	}
	if !l.PostTask(loop.TaskFunc(look)) {
		return nil, ErrNoConn
	}
	select {
	case c := <-found:
		if c == nil {
			return nil, ErrNoConn
		}
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
