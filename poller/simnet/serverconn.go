package simnet

import (
	"net"
	"time"
)

// serverConn is the server's end as a net.Conn, after Detach. The methods mean
// what they mean for a Conn.
type serverConn struct {
	conn *Conn
}

var (
	_ net.Conn = (*Conn)(nil)
	_ net.Conn = (*serverConn)(nil)
)

func (s *serverConn) Read(p []byte) (int, error)  { return s.conn.blockingRead(server, p) }
func (s *serverConn) Write(p []byte) (int, error) { return s.conn.blockingWrite(server, p) }
func (s *serverConn) Close() error                { return s.conn.blockingClose(server) }
func (s *serverConn) LocalAddr() net.Addr         { return s.conn.lockedAddr(server) }
func (s *serverConn) RemoteAddr() net.Addr        { return s.conn.lockedAddr(client) }

func (s *serverConn) SetDeadline(t time.Time) error {
	return s.conn.setDeadline(server, t, readDeadline, writeDeadline)
}

func (s *serverConn) SetReadDeadline(t time.Time) error {
	return s.conn.setDeadline(server, t, readDeadline)
}

func (s *serverConn) SetWriteDeadline(t time.Time) error {
	return s.conn.setDeadline(server, t, writeDeadline)
}

// CloseWrite ends the server's direction, as *net.TCPConn has it.
func (s *serverConn) CloseWrite() error { return s.conn.closeWriteHandle(server) }
