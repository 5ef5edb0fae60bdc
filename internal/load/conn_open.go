package load

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/ws"
)

const (
	maxHead     = 16 << 10  // the most bytes of a response's head
	answerStart = "HTTP/1." // what each begins with
)

// sweepEvery is how often deadlines are looked at.
const sweepEvery = 100 * time.Millisecond

// connects opens a loop's connections at the pace and in the number allowed.
type connects struct {
	queue      []int // slots to connect, in order, from begun on
	begun      int
	opening    int           // connecting, securing or upgrading
	closing    int           // with their close frame sent
	handshakes int           // the most that may be opening
	gap        time.Duration // between two; 0: none
	next       time.Duration // when the next may begin
	swept      time.Duration // when deadlines were looked at last
	noPorts    time.Duration // since when no source address has a port left; 0: they have
}

var errNoPort = errors.New("no source address can reach the server, or has a port left")

// waitedLong tells whether there were no ports for as long as a connection may
// take.
func (k *connects) waitedLong(l *loop) bool {
	if k.noPorts == 0 {
		k.noPorts = l.now
	}
	return l.now-k.noPorts > l.plan.ConnectTimeout
}

// connect asks for a connection in a free place.
func (l *loop) connect(slot int) {
	k := &l.connects
	if k.waiting() == 0 {
		k.queue, k.begun = k.queue[:0], 0
		k.next = max(k.next, l.engine.Now()) // nothing was to connect: nothing to catch up on
	}
	k.queue = append(k.queue, slot)
}

// waiting is how many connections are still to begin.
func (k *connects) waiting() int { return len(k.queue) - k.begun }

// due begins what connections may begin, ends those past their deadlines, and
// says when it wants to be called next.
func (k *connects) due(l *loop) time.Duration {
	next := never
	if k.opening+k.closing > 0 {
		if l.now-k.swept >= sweepEvery {
			k.swept = l.now
			l.sweepDeadlines()
		}
		next = k.swept + sweepEvery
	}
	for k.waiting() > 0 && k.opening < k.handshakes && k.next <= l.now {
		if k.gap > 0 {
			k.next = max(k.next, l.now-time.Second) + k.gap // of a pause catch up on a second at most
		}
		slot := k.queue[k.begun]
		if !l.dial(slot) {
			k.next = max(k.next, l.now+10*time.Millisecond)
			break
		}
		k.begun++
		if k.begun >= 1024 && k.begun > len(k.queue)/2 { // for churn, whose queue is never empty
			k.queue, k.begun = k.queue[:copy(k.queue, k.queue[k.begun:])], 0
		}
	}
	if k.waiting() > 0 && k.opening < k.handshakes {
		next = min(next, k.next)
	}
	return next
}

// dial begins a connection; false says that the machine has no room just now.
func (l *loop) dial(slot int) bool {
	c := &l.conns[slot]
	c.renew()
	c.began = l.engine.Now()
	for {
		source, at := l.sources.get()
		fd, err := l.engine.Connect(source, l.target.address)
		if errors.Is(err, poller.ErrNoPorts) {
			if l.sources.usedUp(at) {
				continue
			}
			if l.connects.waitedLong(l) {
				err = errNoPort
			} else {
				l.meter.note("all ports of the source addresses were in use: connecting waited for some to come free")
				return false
			}
		}
		if err != nil {
			l.tryAfterConnect(err)
			l.fail("connect", err)
			l.behaviour.ended(l, c, false)
			return true
		}
		c.fd = int32(fd)
		l.connects.noPorts = 0
		break
	}
	c.state, c.until = connecting, c.began+l.plan.ConnectTimeout
	l.connects.opening++
	if err := l.poller.Add(int(c.fd), c.token(slot)); err != nil {
		_ = l.engine.Close(int(c.fd)) // it never was in use
		l.fail("connect", err)
		l.free(c)
	}
	return true
}

// fail counts a connection that was not upgraded.
func (l *loop) fail(doing string, err error) {
	l.meter.failed++
	l.meter.trouble("%s: %v", doing, cause(err))
}

// free gives up a connection's place.
func (l *loop) free(c *conn) {
	was := c.state
	switch was {
	case connecting, securing, upgrading:
		l.connects.opening--
	case open:
		l.countOpen(-1)
	case closing:
		l.countOpen(-1)
		l.connects.closing--
	}
	c.wire.cut()
	c.deflate.free()
	c.state, c.wire, c.deflate, c.stream, c.handshake, c.unsent = absent, nil, nil, nil, nil, nil
	c.in = incoming{}
	l.behaviour.ended(l, c, was == closing)
}

// countOpen counts connections that were upgraded and have not ended.
func (l *loop) countOpen(more int) {
	l.meter.open += more
	l.open.Add(int32(more))
}

// end closes a connection's descriptor and gives up its place.
func (l *loop) end(c *conn) {
	_ = l.poller.CloseFD(int(c.fd)) // whatever it says, the descriptor is gone
	l.free(c)
}

// lose is end of a connection that was not to end. That of a slow one is the
// server's right.
func (l *loop) lose(c *conn, format string, args ...any) {
	if c.state == upgrading && c.handshake.refusal != nil {
		format, args = "%s", []any{l.tellRefusal(c)} // however its end came
	}
	switch {
	case c.slow && c.state == open:
		l.meter.cut++
		l.end(c)
		return
	case c.state < open:
		l.meter.failed++
	case c.state == open:
		l.meter.lost++
	}
	l.meter.trouble(format, args...)
	l.end(c)
}

// slot is a connection's place.
func (l *loop) slot(c *conn) int { return int(c.number - l.conns[0].number) }

// connected is called when connecting is over, one way or the other.
func (l *loop) connected(c *conn) {
	err := l.engine.ConnectError(int(c.fd))
	if err == poller.ErrAgain {
		return
	}
	if err != nil {
		l.tryAfterConnect(err)
		l.lose(c, "connect: %v", cause(err))
		return
	}
	if l.target.tls != nil {
		l.secure(c)
		return
	}
	l.request(c)
}

// request asks for the upgrade, or for the event stream.
func (l *loop) request(c *conn) {
	c.state = upgrading
	if l.streams(c) {
		c.handshake, c.stream = &handshake{}, &stream{}
		l.out = appendEventRequest(l.out[:0], &l.target.request)
		l.write(c, l.out)
		return
	}
	var random [16]byte
	binary.LittleEndian.PutUint64(random[:8], l.random.Uint64())
	binary.LittleEndian.PutUint64(random[8:], l.random.Uint64())
	c.handshake = &handshake{key: ws.NewClientKey(random)}
	l.out = l.target.request.Append(l.out[:0], c.handshake.key)
	l.write(c, l.out)
}

// upgrade takes bytes of the response's head and gives those behind it.
func (l *loop) upgrade(c *conn, in []byte) (rest []byte) {
	h := c.handshake
	before := len(h.head)
	h.head = append(h.head, in...)
	skipped, err := ws.SkipInterim(h.head)
	if err != nil {
		l.lose(c, "%s: %s", c.asked(), brief(err))
		return nil
	}
	answer := h.head[skipped:]
	size := headSize(answer)
	start := min(len(answer), len(answerStart))
	switch {
	case string(answer[:start]) != answerStart[:start]:
		l.notHTTP(answer)
		l.lose(c, "%s: the answer is not HTTP", c.asked())
		return nil
	case size == 0 && len(answer) <= maxHead:
		return nil
	case size == 0 || size > maxHead:
		l.lose(c, "%s: the response's head is longer than %d bytes", c.asked(), maxHead)
		return nil
	}
	agreed, err := l.judge(c, answer[:size])
	switch {
	case errors.As(err, new(*ws.RefusedError)):
		l.refused(c, answer, size, err)
		return nil
	case err != nil:
		l.lose(c, "%s: %s", c.asked(), brief(err))
		return nil
	case agreed.Agreed():
		c.deflate = newDeflating(agreed)
	case l.target.request.Deflate != nil:
		l.lose(c, "upgrade: the server declined permessage-deflate") // a load that was not asked for
		return nil
	}
	c.handshake, c.state = nil, open
	l.connects.opening--
	l.meter.opened++
	l.countOpen(1)
	l.meter.peak = max(l.meter.peak, l.meter.open)
	l.meter.connect.Record(l.engine.Now() - c.began)
	l.behaviour.opened(l, c)
	return in[skipped+size-before:]
}

// judge says what is wrong with the head of an answer, or what it agrees to.
func (l *loop) judge(c *conn, head []byte) (agreed ws.DeflateParams, err error) {
	if c.stream != nil {
		return agreed, l.acceptStream(c, head)
	}
	return l.target.request.CheckResponse(head, c.handshake.key)
}

// sweepDeadlines ends the connections that took too long.
func (l *loop) sweepDeadlines() {
	for i := range l.conns {
		c := &l.conns[i]
		if c.state == absent || c.state == open || c.until > l.now {
			continue
		}
		switch c.state {
		case connecting:
			l.lose(c, "connect: not made within %s", inWords(l.plan.ConnectTimeout))
		case securing:
			l.tryAfterNothing(c)
			l.lose(c, "tls: no handshake within %s", inWords(l.plan.ConnectTimeout))
		case upgrading:
			l.tryAfterNothing(c)
			l.lose(c, "%s: no full answer within %s", c.asked(), inWords(l.plan.ConnectTimeout))
		case closing:
			l.lose(c, "close: the server did not end the connection within %s", inWords(l.plan.endTimeout()))
		}
	}
}
