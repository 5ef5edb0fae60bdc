package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The slow link of this file is a real one: a pair of virtual devices between two
// network namespaces, whose one end lets 2 Mbit/s through. The namespaces, and with them
// the devices and addresses, are those of two processes and gone with them:
//
//	TestRealSlowLink ── TestRealSlowLinkServer: runs the tests, on the server's side
//	                            └── TestRealSlowLinkClient: connects, and hands the
//	                                connections over, which stay on its side

// linkEnv tells a process of the test binary which side it is.
const linkEnv = "MILLRACE_TEST_SLOW_LINK"

const (
	linkServer, linkClient = "192.0.2.1", "192.0.2.2" // RFC 5737
	linkControl            = 3                        // the client's descriptor for what the server's side asks

	linkCloseTimeout = 300 * time.Millisecond
)

// ownNetwork is a process of the test binary with a network of its own.
func ownNetwork(run, side string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^"+run+"$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), linkEnv+"="+side)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// TestRealSlowLink: what TestSlowLink and TestSlowPeerLives promise, in the kernel.
func TestRealSlowLink(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	out, err := ownNetwork("TestRealSlowLinkServer", "server").CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no network of its own for a process here: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP: TestRealSlowLinkServer")):
		t.Skipf("%s", out)
	}
}

// slowNet is the server's side.
type slowNet struct {
	t       *testing.T
	control *net.UnixConn
}

func TestRealSlowLinkServer(t *testing.T) {
	if os.Getenv(linkEnv) != "server" {
		t.Skip("TestRealSlowLink runs it in a process of its own")
	}
	l := newSlowNet(t)
	t.Run("Close", func(t *testing.T) { l.testEnd(t, false, 0, 256<<10) })
	for i, test := range ends {
		secure := i%2 == 0
		t.Run(fmt.Sprint(test.name, ", TLS: ", secure), func(t *testing.T) { l.testEnd(t, secure, i, 128<<10) })
	}
	t.Run("pings", l.testPings)
	t.Run("no answer", l.testNoAnswer)
	t.Run("link down", l.testDown)
}

// newSlowNet makes the link.
func newSlowNet(t *testing.T) *slowNet {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	failOn(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer func() { _, _ = ours.Close(), theirs.Close() }() // the client and control have their own
	control, err := net.FileConn(ours)
	failOn(t, err)
	client := ownNetwork("TestRealSlowLinkClient", "client")
	client.SysProcAttr.Cloneflags &^= syscall.CLONE_NEWUSER // we are root in ours
	client.SysProcAttr.UidMappings, client.SysProcAttr.GidMappings = nil, nil
	client.ExtraFiles = []*os.File{theirs}
	var says bytes.Buffer
	client.Stdout, client.Stderr = &says, &says
	if err := client.Start(); err != nil {
		t.Skipf("no second network: %v", err)
	}
	t.Cleanup(func() {
		_ = control.Close() // the client ends
		if err := client.Wait(); err != nil {
			t.Errorf("the client's side: %v\n%s", err, says.Bytes())
		}
	})
	for _, command := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", fmt.Sprint(client.Process.Pid)},
		{"ip", "address", "add", linkServer + "/30", "dev", "near"},
		{"ip", "link", "set", "near", "up"},
		{"tc", "qdisc", "add", "dev", "near", "root", "tbf", "rate", "2mbit", "burst", "8kb", "latency", "400ms"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", command, err, out)
		}
	}
	return &slowNet{t, control.(*net.UnixConn)}
}

// TestRealSlowLinkClient connects to each address that it is asked for.
func TestRealSlowLinkClient(t *testing.T) {
	if os.Getenv(linkEnv) != "client" {
		t.Skip("TestRealSlowLink runs it in a process of its own")
	}
	control, err := net.FileConn(os.NewFile(linkControl, "control"))
	failOn(t, err)
	addr := make([]byte, 100)
	for up := false; ; up = true {
		n, err := control.Read(addr)
		if err != nil || n == 0 {
			return // the server's side is done
		}
		if !up {
			run(t, "ip", "address", "add", linkClient+"/30", "dev", "far")
			run(t, "ip", "link", "set", "far", "up")
		}
		conn, err := net.Dial("tcp", string(addr[:n]))
		failOn(t, err)
		f, err := conn.(*net.TCPConn).File()
		failOn(t, err)
		_, _, err = control.(*net.UnixConn).WriteMsgUnix([]byte{0}, syscall.UnixRights(int(f.Fd())), nil)
		failOn(t, errors.Join(err, f.Close(), conn.Close()))
	}
}

func run(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", command, err, out)
	}
}

// connect gives a connection that ends on the client's side.
func (l *slowNet) connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	_, err := l.control.Write([]byte(addr))
	failOn(t, err)
	rights := make([]byte, 100)
	_, n, _, _, err := l.control.ReadMsgUnix(make([]byte, 1), rights)
	failOn(t, err)
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	failOn(t, err)
	if len(messages) != 1 {
		t.Fatal("the client's side has not connected")
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	failOn(t, err)
	f := os.NewFile(uintptr(fds[0]), "connection")
	conn, err := net.FileConn(f)
	failOn(t, errors.Join(err, f.Close()))
	return conn
}

// start starts a server, and connects to it.
func (l *slowNet) start(t *testing.T, secure bool, configure func(*server.Server)) (*simServer, *client, *server.Conn) {
	t.Helper()
	s := &simServer{simClock: simClock{t: t}, conns: make(chan *server.Conn, 1), causes: make(chan *ws.CloseError, 1)}
	set := func(srv *server.Server) {
		srv.Handler = handler{open: func(c *server.Conn) { s.conns <- c }, close: closeCause(s.causes)}
		srv.Timeouts.Close, srv.Timeouts.Write, srv.Keepalive.Interval = linkCloseTimeout, time.Second, -1
		configure(srv)
	}
	if secure {
		set = withTLS(set)
	}
	_, s.srv = start(t, systemEngine(t), set)
	ln, err := s.srv.Listen("tcp", linkServer+":0")
	failOn(t, err)
	go func() { _ = serve(s.srv, ln) }() // until the server is closed
	conn := l.connect(t, ln.Addr().String())
	if secure {
		conn = tls.Client(conn, clientTLS())
	}
	c := newClient(t, conn).upgraded()
	return s, c, <-s.conns
}

// testEnd is TestSlowLink with a message that is a second on its way, or half of one.
func (l *slowNet) testEnd(t *testing.T, secure bool, i, size int) {
	test := ends[i]
	s, c, conn := l.start(t, secure, func(*server.Server) {})
	message := pattern(i, size)
	began := time.Now()
	failOn(t, conn.Send(ws.Binary, []byte(message)))
	test.end(s, c, conn)
	c.expect(opBinary, message)
	if test.says != 0 {
		c.expectSays(test.says)
	}
	if took := time.Since(began); took < linkCloseTimeout+2*tickTime {
		t.Errorf("%v for %d bytes: the link is not slow, the test tests nothing", took, size)
	}
	if test.waits {
		c.send(frame(opClose, closePayload(test.says, "")))
	}
	c.expectEOF()
	_ = c.Close()
	eventually(t, "it is freed", func() bool { return s.srv.Stats().Open == 0 })
	s.uncut()
	if cause := <-s.causes; cause.Code != test.cause {
		t.Errorf("closed with %v, want %d", cause, test.cause)
	}
	if s.done != nil {
		expectDrained(t, s.done, nil)
		expectProgress(t, s.srv, server.DrainProgress{Phase: server.PhaseStopped, Closed: 1})
	}
}

// testPings: a peer lives whose pongs stand behind a message for many intervals.
func (l *slowNet) testPings(t *testing.T) {
	s, c, conn := l.start(t, false, func(srv *server.Server) { srv.Keepalive.Interval = 150 * time.Millisecond })
	message := pattern(1, 256<<10)
	failOn(t, conn.Send(ws.Binary, []byte(message)))
	c.expect(opBinary, message)
	c.expect(opPing, "")
	c.send(frame(opPong, ""))
	s.uncut()
	if pings := s.srv.Stats().Pings; pings < 2 {
		t.Errorf("%d pings: the message was not under way for long, the test tests nothing", pings)
	}
	eventually(t, "it is dead when it is silent", func() bool { return s.srv.Stats().Limits[server.LimitPingTimeout] == 1 })
}

// testNoAnswer: a peer that has read our close frame and says nothing is cut.
func (l *slowNet) testNoAnswer(t *testing.T) {
	s, c, conn := l.start(t, false, func(*server.Server) {})
	message := pattern(2, 64<<10)
	failOn(t, errors.Join(conn.Send(ws.Binary, []byte(message)), conn.Close(ws.CodeNormal, "")))
	c.expect(opBinary, message)
	c.expectSays(1000)
	s.uncut()
	c.expectEnd()
	hits(t, s.srv, server.LimitCloseTimeout, 1)
}

// testDown: a peer that does not get anything any more is cut. It is the last.
func (l *slowNet) testDown(t *testing.T) {
	s, _, conn := l.start(t, false, func(*server.Server) {})
	failOn(t, errors.Join(conn.Send(ws.Binary, make([]byte, 256<<10)), conn.Close(ws.CodeNormal, "")))
	run(t, "ip", "link", "set", "near", "down")
	eventually(t, "it is cut", func() bool { return s.srv.Stats().Open == 0 })
	hits(t, s.srv, server.LimitWriteTimeout, 1)
}
