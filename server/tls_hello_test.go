package server_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// oneByteHello is a record that holds the first byte of a ClientHello.
const oneByteHello = "\x16\x03\x01\x00\x01\x01"

// handshakeGoroutines are those that do TLS handshakes, of all servers in the
// process.
func handshakeGoroutines() int {
	all := make([]byte, 4<<20)
	n := 0
	for stack := range bytes.SplitSeq(all[:runtime.Stack(all, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("server.(*handshakes).run(")) {
			n++
		}
	}
	return n
}

// TestTLSHelloUnfinished: a goroutine is for a whole ClientHello only, and who has
// sent less keeps no newcomer waiting. It is not parallel, so that it has the
// handshakes of the process for itself.
func TestTLSHelloUnfinished(t *testing.T) {
	for name, start := range map[string]starter{"simnet": onTLSSimnet, "sockets": onTLSSockets} {
		connect, srv := start(t, func(s *server.Server) { s.Limits.TLSHandshakes = 4 })
		eventually(t, "no handshake is under way", func() bool { return handshakeGoroutines() == 0 })
		const crowd = 500
		for range crowd {
			c := connect()
			c.Conn = c.under()
			c.send(oneByteHello)
		}
		eventually(t, "all are there", func() bool { return srv.Stats().Open == crowd && srv.Stats().Inbound >= crowd })
		if got := handshakeGoroutines(); got != 0 {
			t.Errorf("%s: %d goroutines for %d first bytes of a ClientHello", name, got, crowd)
		}
		connect().upgraded()
		if s := srv.Stats(); s.TLSHandshakes != 1 || s.TLSFailed != 0 || s.Open != crowd+1 {
			t.Errorf("%s: %d handshakes, %d failed, %d open; want the newcomer's, beside the crowd",
				name, s.TLSHandshakes, s.TLSFailed, s.Open)
		}
	}
}

// TestTLSHelloTrickled: 2,500 peers bring a byte of a ClientHello every 1.3 s, each
// in a record of its own. Newcomers are served at once: the clock stands still.
func TestTLSHelloTrickled(t *testing.T) {
	t.Parallel()
	const crowd = 2500
	hello := helloBytes(t)[5:]
	n, addr, srv := startTLSSim(t, simnet.Config{}, nil)
	conns := make([]*simnet.Conn, crowd)
	for i := range conns {
		var err error
		if conns[i], err = n.Dial(addr); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 6 {
		for _, c := range conns {
			if _, err := c.Write([]byte("\x16\x03\x01\x00\x01" + hello[round:round+1])); err != nil {
				t.Fatal(err)
			}
		}
		pass(t, n, 13*tickTime)
		c := dialTLSSim(t, n, addr).upgraded()
		if s := srv.Stats(); s.TLSFailed != 0 || s.Open != crowd+1 {
			t.Errorf("round %d: %d failed, %d open", round, s.TLSFailed, s.Open)
		}
		_ = c.Close()
		eventually(t, "the newcomer is gone", func() bool { return srv.Stats().Open == crowd })
	}
}

// resized sends the first flight of a client in records of so many bytes, each in a
// segment of its own.
type resized struct {
	net.Conn
	size  int
	first atomic.Bool
}

func (c *resized) Write(p []byte) (int, error) {
	if c.first.Swap(true) {
		return c.Conn.Write(p)
	}
	for message := p[5:]; len(message) > 0; {
		size := min(c.size, len(message))
		record := fmt.Sprintf("\x16\x03\x01%c%s%s", size>>8, string([]byte{byte(size)}), message[:size])
		if _, err := c.Conn.Write([]byte(record)); err != nil {
			return 0, err
		}
		message = message[size:]
	}
	return len(p), nil
}

// longHello has a client send a ClientHello that is so many bytes longer.
func longHello(more int) *tls.Config {
	config := clientTLS()
	for ; more > 256; more -= 256 {
		config.NextProtos = append(config.NextProtos, strings.Repeat("x", 255))
	}
	config.NextProtos = append(config.NextProtos, "http/1.1")
	return config
}

// TestTLSHelloInRecords: a ClientHello may be spread over records of any size.
func TestTLSHelloInRecords(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]simnet.Config{
		"as it comes":  {},
		"byte by byte": {Script: simnet.OneByte},
	} {
		n, addr, _ := startTLSSim(t, config, nil)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, size := range []int{1, 2, 3, 4, 5, 100, 635, 1 << 10, 16 << 10} {
				conn, err := n.Dial(addr)
				if err != nil {
					t.Fatal(err)
				}
				config := clientTLS()
				config.MaxVersion = version
				c := newClient(t, tls.Client(&resized{Conn: conn, size: size}, config)).upgraded()
				c.send(frame(opText, name))
				c.expect(opText, name)
				_ = c.Close()
			}
		}
	}
}

// TestTLSHelloSize: a ClientHello of 32 KiB passes, in few records and in many, also
// behind the server's bound for what is received in a handshake. One that is longer is
// refused with its length.
func TestTLSHelloSize(t *testing.T) {
	t.Parallel()
	n, addr, srv := startTLSSim(t, simnet.Config{SendBuffer: 1 << 20}, nil)
	for _, size := range []int{1, 1 << 10, 16 << 10} {
		conn, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, tls.Client(&resized{Conn: conn, size: size}, longHello(30<<10))).upgraded()
		c.send(frame(opText, "long"))
		c.expect(opText, "long")
	}
	failed := srv.Stats().TLSFailed
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := tls.Client(conn, longHello(33<<10)).Handshake(); err == nil {
		t.Error("a ClientHello of 33 KiB passed")
	}
	if got := srv.Stats().TLSFailed; got != failed+1 {
		t.Errorf("%d failures, want 1", got-failed)
	}
}

// TestTLSHelloMemory: of an unfinished ClientHello the message alone is kept and
// counted, not its records.
func TestTLSHelloMemory(t *testing.T) {
	t.Parallel()
	n, addr, srv := startTLSSim(t, simnet.Config{}, nil)
	c := dialSim(t, n, addr)
	c.send("\x16\x03\x01\x00\x04\x01\x00\x80\x00")
	for range 7 << 10 {
		c.send("\x16\x03\x01\x00\x01x")
	}
	eventually(t, "all is there", func() bool { return srv.Stats().Inbound > 7<<10 })
	if got := srv.Stats().Inbound; got > 10<<10 {
		t.Errorf("%d bytes for 7 KiB of a ClientHello", got)
	}
	_ = c.Close()
	eventuallyOn(t, n, "nothing is kept", func() bool { return srv.Stats().Inbound == 0 && srv.Stats().Open == 0 })
}
