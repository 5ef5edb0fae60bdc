package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// helloBytes are the records of a ClientHello.
func helloBytes(t testing.TB) string { return helloOf(t, clientTLS()) }

func helloOf(t testing.TB, config *tls.Config) string {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { _ = tls.Client(near, config).Handshake() }() // fails when near is closed
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestTLSHello: the first bytes decide whether this is TLS, at the first that is
// wrong.
func TestTLSHello(t *testing.T) {
	t.Parallel()
	n, addr, srv := startTLSSim(t, simnet.Config{}, nil)
	failed := uint64(0)
	for _, test := range []struct {
		bytes string
		http  bool
	}{
		{"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", true},
		{"G", true},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true},
		{"\x80\x2e\x01\x00\x02", false},             // SSLv2
		{"\x15", false},                             // an alert
		{"\x17\x03\x03", false},                     // application data
		{"\x16\x02", false},                         // a version that is none
		{"\x16\x03\x09", false},                     //
		{"\x16\x03\x01\x00\x00", false},             // an empty record
		{"\x16\x03\x01\xff\xff", false},             // one that is too long
		{"\x16\x03\x01\x02\x00\x02", false},         // a ServerHello
		{"\x16\x03\x01\x00\x02\x01\x01", false},     // a ClientHello of 64 KiB
		{"\x16\x03\x01\x00\x03\x01\x00\x81", false}, // of 33 KiB
		{"\x16\x03\x01\x00\x04\x01\x00\x80\x01", false},
		{"\x16\x03\x01\x00\x04\x01\x00\x00\x28", false}, // of 40 bytes
		{"\x16\x03\x01\x01\x00\x01\x00\x00\xfb", false}, // with another message in its record
		{oneByteHello + "\x16\x03\x01\x00\x01\x01", false},
		{oneByteHello + "\x16\x03\x01\x00\x00", false}, // other records within
		{oneByteHello + "\x15", false},
		{oneByteHello + "\x17", false},
		{oneByteHello + "G", false},
		{"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51", false}, // a PROXY header
		{"\x00", false},
	} {
		c := dialSim(t, n, addr)
		c.send(test.bytes)
		if test.http {
			resp, body := c.response()
			if resp.StatusCode != 400 || !strings.Contains(body, "HTTPS server") {
				t.Errorf("%q: status %d, %q", test.bytes, resp.StatusCode, body)
			}
		} else {
			c.expectEnd()
		}
		_ = c.Close()
		if failed++; srv.Stats().TLSFailed != failed {
			t.Errorf("%q: %d failures counted, want %d", test.bytes, srv.Stats().TLSFailed, failed)
		}
	}
}

// TestTLSHelloInPieces: as long as the ClientHello is not whole there is no
// goroutine, and the deadline cuts; one in each two pieces is as good as in one.
func TestTLSHelloInPieces(t *testing.T) {
	t.Parallel()
	hello := helloBytes(t)
	n, addr, srv := startTLSSim(t, simnet.Config{}, nil)
	const crowd = 500
	var half []*client
	before := runtime.NumGoroutine()
	for i := range crowd {
		c := dialSim(t, n, addr)
		c.send(hello[:i%len(hello)])
		half = append(half, c)
	}
	idle(t, n)
	if now := runtime.NumGoroutine(); now > before+crowd/4 { // other tests run beside this one
		t.Errorf("%d goroutines more for %d halves of a hello", now-before, crowd)
	}
	pass(t, n, 11*second)
	for _, c := range half {
		c.expectEnd()
	}
	eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
	if got := srv.Stats().TLSHandshakes; got != 0 {
		t.Errorf("%d handshakes", got)
	}
}

// halfShaken is a client that has sent its ClientHello and says nothing more.
func halfShaken(t *testing.T, n *simnet.Network, addr, hello string) *client {
	t.Helper()
	c := dialSim(t, n, addr)
	c.send(hello)
	return c
}

// TestMaxTLSHandshakes: so many handshakes are under way, the next waits for its
// turn, first come first served, and has it when one is over in whatever way.
func TestMaxTLSHandshakes(t *testing.T) {
	t.Parallel()
	hello := helloBytes(t)
	for name, end := range map[string]func(*client){
		"closed": func(c *client) { _ = c.Close() },
		"reset":  (*client).reset,
		"failed": func(c *client) { c.send("\x15\x03\x03\x00\x02\x02\x28") }, // handshake_failure
	} {
		n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.TLSHandshakes = 2 })
		first := []*client{halfShaken(t, n, addr, hello), halfShaken(t, n, addr, hello)}
		for _, c := range first {
			if _, err := c.r.Peek(1); err != nil { // the server's flight: both have begun
				t.Fatal(err)
			}
		}
		var waiting []*client
		for i := range 3 {
			waiting = append(waiting, halfShaken(t, n, addr, hello))
			eventually(t, "one after the other", func() bool { return srv.Stats().TLSWaiting == i+1 })
		}
		for _, c := range waiting {
			silentStill(t, c)
		}
		_ = waiting[0].Close() // it leaves the line
		idle(t, n)
		end(first[0])
		if _, err := waiting[1].r.Peek(1); err != nil {
			t.Fatalf("%s: the first in the line: %v", name, err)
		}
		silentStill(t, waiting[2])
		end(first[1])
		if _, err := waiting[2].r.Peek(1); err != nil {
			t.Fatalf("%s: the second in the line: %v", name, err)
		}
		for _, c := range append(first, waiting...) {
			_ = c.Close()
		}
		eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
		dialTLSSim(t, n, addr).upgraded()
	}
}

// awaitingPeers is how many handshakes wait for their peers, of all servers in the
// process.
func awaitingPeers() (n int) {
	all := make([]byte, 4<<20)
	for stack := range bytes.SplitSeq(all[:runtime.Stack(all, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("sync.(*Cond).Wait")) && bytes.Contains(stack, []byte(".awaitRecord")) {
			n++
		}
	}
	return n
}

// TestTLSHandshakeDeadline cuts handshakes that have begun and those that wait,
// while others go on.
func TestTLSHandshakeDeadline(t *testing.T) {
	t.Parallel()
	hello := helloBytes(t)
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.TLSHandshakes = 5 })
	open := dialTLSSim(t, n, addr).upgraded()
	var late []*client
	for range 20 {
		late = append(late, halfShaken(t, n, addr, hello))
	}
	pass(t, n, 9*second)
	open.send(frame(opText, "alive"))
	open.expect(opText, "alive")
	pass(t, n, 2*second)
	for _, c := range late {
		if _, err := io.Copy(io.Discard, c.r); err != nil {
			t.Error(err)
		}
	}
	eventuallyOn(t, n, "one connection", func() bool { return srv.Stats().Open == 1 })
	if got := srv.Stats().TLSFailed; got != 20 {
		t.Errorf("%d failures, want 20", got)
	}
	open.send(frame(opText, "alive"))
	open.expect(opText, "alive")
}

// TestTLSStopsInHandshake: Close and Shutdown end handshakes that are under way,
// in the line and in a callback that blocks.
func TestTLSStopsInHandshake(t *testing.T) {
	t.Parallel()
	hello := helloBytes(t)
	for name, stop := range map[string]func(*server.Server) error{
		"close":    (*server.Server).Close,
		"shutdown": func(s *server.Server) error { return s.Shutdown(context.Background()) },
	} {
		for _, blocks := range []bool{false, true} {
			inside, release := make(chan struct{}, 100), make(chan struct{})
			n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
				s.Limits.TLSHandshakes = 3
				if blocks {
					s.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
						inside <- struct{}{}
						<-release
						return nil, nil
					}
				}
			})
			var all []*client
			for range 6 {
				all = append(all, halfShaken(t, n, addr, hello))
			}
			idle(t, n)
			if blocks {
				<-inside
				time.AfterFunc(10*time.Millisecond, func() { close(release) })
			}
			stopped := make(chan error, 1)
			go func() { stopped <- stop(srv) }()
			eventuallyOn(t, n, "the end of "+name, func() bool { return len(stopped) > 0 })
			if err := <-stopped; err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, c := range all {
				_, _ = io.Copy(io.Discard, c.r) // to the end, or a reset
			}
			if open := srv.Stats().Open; open != 0 {
				t.Errorf("%s: %d connections are open", name, open)
			}
		}
	}
}

// TestTLSBlockedCallback: a callback that blocks takes no processor from other
// handshakes, nor a loop from anybody.
func TestTLSBlockedCallback(t *testing.T) {
	t.Parallel()
	inside, release := make(chan struct{}, 100), make(chan struct{})
	block := func(hello *tls.ClientHelloInfo) {
		if hello.ServerName == "slow.example" {
			inside <- struct{}{}
			<-release
		}
	}
	n, addr, _ := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
		s.TLSConfig.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			block(hello)
			cert := testAuthority().issue(hello.ServerName)
			return &cert, nil
		}
		s.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			block(hello)
			return nil, nil
		}
		s.TLSConfig.Certificates = nil
	})
	var slow []*client
	for range 10 {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		config := clientTLS()
		config.ServerName = "slow.example"
		c := newClient(t, tls.Client(conn, config))
		go func() { _, _ = io.WriteString(c, upgradeRequest()) }() // expectSwitch below misses a failure
		slow = append(slow, c)
		<-inside
	}
	for range 10 {
		dialTLSSim(t, n, addr).upgraded()
	}
	close(release)
	for _, c := range slow {
		c.expectSwitch()
	}
}

// TestTLSCallbackEnds: a callback that panics, ends its goroutine or closes the
// connection ends one handshake.
func TestTLSCallbackEnds(t *testing.T) {
	t.Parallel()
	log := &logBook{}
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
		s.Limits.TLSHandshakes = 1
		s.Logger = log.logger()
		s.TLSConfig.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			switch hello.ServerName {
			case "panic.example":
				panic("a callback's")
			case "exit.example":
				runtime.Goexit()
			case "close.example":
				_ = hello.Conn.Close()
			}
			return nil, errors.New("no certificate")
		}
		s.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName == "example.com" {
				return &tls.Config{Certificates: s.TLSConfig.Certificates}, nil
			}
			return &tls.Config{GetCertificate: s.TLSConfig.GetCertificate}, nil
		}
	})
	for _, name := range []string{"panic.example", "exit.example", "close.example", "none.example"} {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		config := clientTLS()
		config.ServerName = name
		c := newClient(t, tls.Client(conn, config))
		done := make(chan error)
		go func() { done <- c.Conn.(*tls.Conn).Handshake() }()
		if name == "exit.example" {
			pass(t, n, 11*second)
		}
		if err := <-done; err == nil {
			t.Errorf("%s: the handshake succeeded", name)
		}
		_ = conn.Close()
		dialTLSSim(t, n, addr).upgraded()
	}
	if log.count("TLS callback panicked") != 1 || srv.Stats().Panics != 1 {
		t.Errorf("the panic is logged %d times, counted %d times", log.count("TLS callback panicked"), srv.Stats().Panics)
	}
}

// TestTLSFloodInHandshake: what a peer sends before its handshake takes it is
// bounded, and all of it counts in the end.
func TestTLSFloodInHandshake(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	n, addr, _ := startTLSSim(t, simnet.Config{SendBuffer: 10_000}, func(s *server.Server) {
		s.TLSConfig.VerifyConnection = func(tls.ConnectionState) error {
			<-release
			return nil
		}
	})
	c := dialTLSSim(t, n, addr)
	var flood bytes.Buffer
	flood.WriteString(upgradeRequest())
	for i := range 300 {
		flood.WriteString(frame(opText, pattern(i, 1000)))
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(flood.Bytes())
		wrote <- err
	}()
	eventually(t, "the client has finished", func() bool { return c.Conn.(*tls.Conn).ConnectionState().HandshakeComplete })
	idle(t, n)
	select {
	case err := <-wrote:
		t.Errorf("the server took all of the flood, %v", err)
	default:
	}
	close(release)
	c.expectSwitch()
	for i := range 300 {
		c.expect(opText, pattern(i, 1000))
	}
}

// TestTLSEndOfStream: close_notify ends the stream as a FIN does, and what came
// before it is answered; a FIN without one too.
func TestTLSEndOfStream(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]starter{"simnet": onTLSSimnet, "sockets": onTLSSockets} {
		connect, srv := start(t, nil)
		for _, fin := range []bool{false, true} {
			c := connect().upgraded()
			for i := range 50 {
				c.send(frame(opText, pattern(i, 2000)))
			}
			if fin {
				if err := c.under().(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			} else {
				c.closeWrite()
			}
			for i := range 50 {
				c.expect(opText, pattern(i, 2000))
			}
			c.expectEOF()
			eventually(t, name+": none is open", func() bool { return srv.Stats().Open == 0 })
		}
	}
}
