package poller

// fionwrite is FIONWRITE of sys/filio.h, which x/sys leaves out.
const fionwrite = 0x40046677

// Unacked asks for what is in the socket's send buffer.
func (sockets) Unacked(fd int) (int, error) { return ioctlInt(fd, fionwrite) }
