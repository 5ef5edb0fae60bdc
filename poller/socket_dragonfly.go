package poller

// Unacked answers ErrNotSupported: no call of DragonFly's tells.
func (sockets) Unacked(int) (int, error) {
	return 0, unsupportedError("DragonFly does not tell what a peer has not acknowledged")
}
