package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestTLSHandshakeYields: peers that say nothing more keep nobody out for long. It
// is not parallel, so that it has the handshakes of the process for itself.
func TestTLSHandshakeYields(t *testing.T) {
	hello := helloBytes(t)
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Limits.TLSHandshakes = 3 })
	for range 5 {
		eventually(t, "none waits", func() bool { return awaitingPeers() == 0 })
		for range 3 {
			defer func(c *client) { _ = c.Close() }(halfShaken(t, n, addr, hello))
		}
		eventually(t, "all wait for their peers", func() bool { return awaitingPeers() == 3 })
		failed := srv.Stats().TLSFailed
		pass(t, n, 3*second)
		dialTLSSim(t, n, addr).upgraded()
		if got := srv.Stats().TLSFailed; got != failed+1 {
			t.Errorf("%d handshakes made room, want 1", got-failed)
		}
		pass(t, n, 10*second)
		eventually(t, "they are gone", func() bool { return srv.Stats().States.Handshake == 0 })
	}
}

// TestTLSProcessorsInTurn: an address that brings many ClientHellos at once keeps no
// other from its turn at the processors.
func TestTLSProcessorsInTurn(t *testing.T) {
	hello := helloBytes(t)
	shares := max(1, runtime.GOMAXPROCS(0)/2)
	const holder, crowd, newcomer = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	var toHold atomic.Int32
	toHold.Store(int32(shares))
	held, release := make(chan struct{}, shares), make(chan struct{})
	begun := make(chan string, 100)
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
		s.TLSConfig.Time = func() time.Time { // it is called with a share
			if toHold.Add(-1) >= 0 {
				held <- struct{}{}
				<-release
			}
			return time.Now()
		}
		s.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			from := hello.Conn.RemoteAddr().(*net.TCPAddr).IP.String()
			if from == holder {
				return nil, nil
			}
			begun <- from
			return nil, errors.New("this one is over")
		}
	})
	for range shares {
		shakingFrom(t, n, addr, holder, hello)
		<-held
	}
	for i := range 20 {
		shakingFrom(t, n, addr, crowd, hello)
		eventually(t, "it waits for a processor", func() bool { return srv.Stats().TLSUnderWay == shares+i+1 })
	}
	eventually(t, "all wait for a processor", func() bool { return claimingShares() == 20 })
	shakingFrom(t, n, addr, newcomer, hello)
	eventually(t, "the newcomer does as well", func() bool { return claimingShares() == 21 })
	close(release)
	for at := range 21 {
		if <-begun == newcomer {
			if at > shares+1 {
				t.Errorf("the newcomer computes after %d of the crowd", at)
			}
			return
		}
	}
	t.Error("the newcomer does not compute")
}

// claimingShares is how many handshakes wait for a processor, of all servers in the
// process.
func claimingShares() (n int) {
	all := make([]byte, 4<<20)
	for stack := range bytes.SplitSeq(all[:runtime.Stack(all, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("[chan receive")) && bytes.Contains(stack, []byte("server.(*shares).compute(")) {
			n++
		}
	}
	return n
}
