package interop_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/gorilla/websocket"
)

// startHitch runs hitch, which ends TLS and passes bytes on, in front of the server
// at addr, and gives where it listens.
func startHitch(t *testing.T, addr string) *balancer {
	t.Helper()
	program := needBalancer(t, "hitch", "hitch")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return startOnPort(t, func(b *balancer, front int) *exec.Cmd {
		pem := b.file("hitch.pem", certificate(t))
		config := fmt.Sprintf("frontend = \"[127.0.0.1]:%d\"\nbackend = \"[%s]:%s\"\npem-file = %q\nwrite-proxy-v2 = on\nworkers = 1\ndaemon = off\n",
			front, host, port, pem)
		if os.Getuid() == 0 {
			config += "user = \"nobody\"\ngroup = \"nogroup\"\n" // it insists
		}
		return exec.Command(program, "--config="+b.file("hitch.conf", []byte(config)))
	})
}

// TestHitchPassesTheLastWord: a proxy that ends TLS drops what it has in hand when
// the server's FIN comes. The close frame of a failure arrives all the same.
func TestHitchPassesTheLastWord(t *testing.T) {
	t.Parallel()
	back := startBackend(t, proxied)
	b := startHitch(t, back.addr)
	header := []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0} // 1 MiB and a byte
	piece := make([]byte, 16<<10)
	for i := range 30 {
		conn, _ := b.connect("wss", nil)
		go func(to net.Conn) { // it goes on while the answer is on its way
			_, err := to.Write(header)
			for sent := 0; sent < 1<<20 && err == nil; sent += len(piece) {
				_, err = to.Write(piece)
			}
		}(conn.NetConn())
		_, _, err := conn.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.CloseMessageTooBig {
			t.Errorf("connection %d: %v, want 1009", i, err)
		}
		_ = conn.Close() // the test is what was read
	}
}
