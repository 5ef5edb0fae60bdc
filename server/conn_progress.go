package server

import "github.com/millrace/millrace/poller"

// # Progress
//
// What the kernel has taken is not with the peer yet: on a slow link a megabyte may
// stand in the kernel for a minute, behind it our ping or close frame. So three
// deadlines look, when they are over and not before, how many bytes the peer's side
// has acknowledged since (poller.Gauge): that of a write, that of a ping, and that of
// an end. A peer whose side goes on taking bytes is slow, not gone.
//
// An engine that is no Gauge, and a stream without a descriptor, show progress only
// in what they take.

// progressBytes is what a peer must take within the write timeout, if so much is
// under way: a peer that takes a byte now and then is slow, not alive.
const progressBytes = 4 << 10

// unacked is how many bytes the kernel has that the peer's side has not. The caller
// holds mu, before stateClosed.
func (c *Conn) unacked() int64 {
	if c.is(unixSocket) {
		return 0 // it has no other side: what we wrote is there
	}
	return int64(c.gauge(poller.Gauge.Unacked))
}

// unread is how many bytes the kernel has for us.
func (c *Conn) unread() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gauge(poller.Gauge.Unread)
}

// gauge asks the kernel for one of its numbers, a system call. It is 0 where there is
// none.
func (c *Conn) gauge(number func(poller.Gauge, int) (int, error)) int {
	gauge, ok := c.loop.engine.(poller.Gauge)
	if !ok || c.fd < 0 {
		return 0
	}
	n, err := number(gauge, int(c.fd))
	if err != nil {
		return 0 // a network without such a number
	}
	return n
}

// written is how many bytes the kernel has taken. What the peer's side has is that
// without the unacked ones; it falls by a little where their number is not exact. The
// caller holds mu.
func (c *Conn) written() int64 {
	taken := int64(c.total(bytesOut))
	if c.out != nil {
		taken -= int64(c.out.size())
	}
	if s, ok := c.stream().(*tlsStream); ok {
		taken = s.written
	}
	return taken - int64(c.held())
}

// acked is how many bytes the peer's side has. The caller holds mu.
func (c *Conn) acked() int64 { return c.written() - c.unacked() }

// progressed says whether the peer's side, which has acked by now, has taken enough
// since basis, which is what it had then; if so that is the basis from now on.
func progressed(basis *int64, acked int64) bool {
	if acked-*basis < progressBytes {
		return false
	}
	*basis = acked
	return true
}
