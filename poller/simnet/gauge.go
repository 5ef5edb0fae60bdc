package simnet

// Unacked returns how many bytes the other end has not read where they count as
// acknowledged only then ([Config].AckOnRead), and else 0; see [poller.Gauge]. A
// FIN counts for nothing, and a reset leaves 0.
func (n *Network) Unacked(fd int) (int, error) {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return 0, n.badFD("ioctl", fd)
	}
	defer c.mu.Unlock()
	if !c.ackOnRead {
		return 0, nil
	}
	return c.pending(s.other()), nil
}

// Unread returns how many bytes wait to be read at this end; see [poller.Gauge].
func (n *Network) Unread(fd int) (int, error) {
	c, s, ok := n.lockConn(fd)
	if !ok {
		return 0, n.badFD("ioctl", fd)
	}
	defer c.mu.Unlock()
	return c.pending(s), nil
}

// AckOnRead chooses for this connection, in both directions, what
// [Config].AckOnRead does for all. Bytes on the way follow at once.
func (c *Conn) AckOnRead(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ackOnRead = on
}
