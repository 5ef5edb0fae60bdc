package peers_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
)

// certificate makes one, which signs itself, and gives the flags for it.
func certificate(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}}}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return []string{"--cert", file("cert.pem", "CERTIFICATE", cert), "--key", file("key.pem", "PRIVATE KEY", der)}
}

func TestTLS(t *testing.T) {
	each(t, "echo tls", func(t *testing.T, r rival) {
		testAll(t, r.start(t, certificate(t)...), r.shortest)
	})
}

func TestDeflate(t *testing.T) {
	each(t, "deflate", func(t *testing.T, r rival) {
		to := r.start(t, "--deflate")
		testAll(t, to, r.shortest)
		plain := to
		plain.deflate = false
		t.Run("a client that offers nothing", func(t *testing.T) { testMessages(t, plain, r.shortest) })
		t.Run("the answer is smaller", func(t *testing.T) {
			c := connect(t, to)
			before := c.wire.got
			message := bytes.Repeat([]byte("so much and no more, "), 3000)
			c.send(t, websocket.TextMessage, message)
			c.expect(t, websocket.TextMessage, message)
			if got := c.wire.got - before; got > len(message)/10 {
				t.Errorf("%d bytes, always the same, took %d", len(message), got)
			}
		})
	})
}

// TestTakeover sends what no server can make much smaller at first, and then again.
func TestTakeover(t *testing.T) {
	each(t, "takeover", func(t *testing.T, r rival) {
		c := dialTakeover(t, r.start(t, "--takeover").address)
		random := make([]byte, 1<<9) // so that all three are in a window of 4 KiB
		_, _ = rand.Read(random)
		message := []byte(hex.EncodeToString(random) + strings.Repeat("a little", 50))
		var took []int
		for range 3 {
			c.send(t, message)
			got, n := c.receive(t)
			if !bytes.Equal(got, message) {
				t.Fatalf("got %d bytes %.40q, want %d bytes %.40q", len(got), got, len(message), message)
			}
			took = append(took, n)
		}
		if took[0] < 1<<9 || took[1] > 300 || took[2] > 300 {
			t.Errorf("three answers took %d bytes; want the first to be more than 512, the others less than 300", took)
		}
	})
}

// takeover is a client with context takeover in both directions, which gorilla's
// has not, and which lets the server choose its window, which coder's does not.
type takeover struct {
	conn   net.Conn
	in     *bufio.Reader
	packer *flate.Writer
	packed bytes.Buffer
	seen   []byte // what came
}

func dialTakeover(t *testing.T, address string) *takeover {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n", address)
	c := &takeover{conn: conn, in: bufio.NewReader(conn)}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	extensions := response.Header.Get("Sec-WebSocket-Extensions")
	if !strings.HasPrefix(extensions, "permessage-deflate") || strings.Contains(extensions, "no_context_takeover") {
		t.Fatalf("extensions: %q", extensions)
	}
	c.packer, _ = flate.NewWriter(&c.packed, flate.BestSpeed)
	return c
}

func (c *takeover) send(t *testing.T, message []byte) {
	t.Helper()
	c.packed.Reset()
	_, _ = c.packer.Write(message)
	_ = c.packer.Flush()
	frame := ws.NewTextFrame(bytes.TrimSuffix(c.packed.Bytes(), []byte("\x00\x00\xff\xff")))
	frame.Header.Rsv = ws.Rsv(true, false, false)
	if err := ws.WriteFrame(c.conn, ws.MaskFrameInPlace(frame)); err != nil {
		t.Fatal(err)
	}
}

// receive gives a message, and how long its frame was.
func (c *takeover) receive(t *testing.T) (message []byte, n int) {
	t.Helper()
	header, err := ws.ReadHeader(c.in)
	if err != nil || !header.Fin || !header.Rsv1() || header.Length > 1<<20 {
		t.Fatalf("header %+v, %v; want a message in one frame, compressed", header, err)
	}
	packed := make([]byte, header.Length)
	if _, err := io.ReadFull(c.in, packed); err != nil {
		t.Fatal(err)
	}
	const end = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	message, err = io.ReadAll(flate.NewReaderDict(io.MultiReader(bytes.NewReader(packed), strings.NewReader(end)), c.seen))
	if err != nil {
		t.Fatal(err)
	}
	c.seen = append(c.seen, message...)
	return message, len(packed)
}

func TestBroadcast(t *testing.T) {
	each(t, "broadcast", func(t *testing.T, r rival) {
		testBroadcast(t, r.start(t, "--broadcast"), r.shortest)
	})
}

func TestBroadcastTLS(t *testing.T) {
	each(t, "broadcast tls", func(t *testing.T, r rival) {
		testBroadcast(t, r.start(t, append(certificate(t), "--broadcast")...), r.shortest)
	})
}

func TestBroadcastDeflate(t *testing.T) {
	each(t, "broadcast deflate", func(t *testing.T, r rival) {
		testBroadcast(t, r.start(t, "--broadcast", "--deflate"), r.shortest)
	})
}

const (
	receivers  = 20
	publishers = 3 // of them
	published  = 100
)

func testBroadcast(t *testing.T, to target, shortest int) {
	all := gather(t, to)
	t.Run("to all", func(t *testing.T) {
		for _, n := range []int{shortest, 125, 70_000, 200_000} {
			for i, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
				all[i].send(t, kind, content(n))
				for _, c := range all {
					c.expect(t, kind, content(n))
				}
			}
		}
	})
	t.Run("in the order of each publisher", func(t *testing.T) { testOrder(t, all) })
	t.Run("a pong is the sender's", func(t *testing.T) {
		for i, c := range all {
			c.SetPongHandler(func(string) error {
				if i != 0 {
					t.Errorf("connection %d got a pong", i)
				}
				return nil
			})
		}
		_ = all[0].WriteControl(websocket.PingMessage, []byte("?"), time.Now().Add(patience))
		all[0].send(t, websocket.TextMessage, []byte("behind the ping"))
		for _, c := range all {
			c.expect(t, websocket.TextMessage, []byte("behind the ping"))
		}
	})
	t.Run("some left", func(t *testing.T) {
		_ = all[3].Close()
		_ = all[4].WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
		rest := append(all[:3:3], all[5:]...)
		for range 3 {
			rest[5].send(t, websocket.BinaryMessage, content(5000))
			for _, c := range rest {
				c.expect(t, websocket.BinaryMessage, content(5000))
			}
		}
	})
}

// gather opens connections, and comes back when each is among those that messages
// go to and all before that has arrived.
func gather(t *testing.T, to target) (all []client) {
	t.Helper()
	for range receivers {
		c := connect(t, to)
		c.send(t, websocket.TextMessage, []byte("here"))
		c.expect(t, websocket.TextMessage, []byte("here"))
		all = append(all, c)
	}
	for i, c := range all {
		for range receivers - 1 - i {
			c.expect(t, websocket.TextMessage, []byte("here"))
		}
	}
	all[0].send(t, websocket.TextMessage, []byte("begin"))
	for _, c := range all {
		message := []byte("here") // of one before it, perhaps
		for err := error(nil); string(message) != "begin"; _, message, err = c.ReadMessage() {
			if err != nil || string(message) != "here" {
				t.Fatalf("%q, %v", message, err)
			}
		}
	}
	return all
}

// testOrder publishes from several connections at once.
func testOrder(t *testing.T, all []client) {
	for p, c := range all[:publishers] {
		go func() {
			for n := range published {
				if err := c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%d %d", p, n)); err != nil {
					t.Errorf("publisher %d: %v", p, err)
				}
			}
		}()
	}
	for i, c := range all {
		var next [publishers]int
		for range publishers * published {
			_, message, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			var p, n int
			if _, err := fmt.Sscan(string(message), &p, &n); err != nil {
				t.Fatalf("%q: %v", message, err)
			}
			if n != next[p] {
				t.Fatalf("connection %d got message %d of publisher %d, want %d", i, n, p, next[p])
			}
			next[p]++
		}
	}
}

// TestRefusals: what a server can not do is told in a line, and not left out in
// silence.
func TestRefusals(t *testing.T) {
	cert := certificate(t)
	for _, r := range rivals(t) {
		flags := map[string][]string{"echo": nil, "broadcast": {"--broadcast"}, "tls": cert, "deflate": {"--deflate"}, "takeover": {"--takeover"}}
		for need, args := range flags {
			if r.lacking != "" || r.does(need) {
				continue
			}
			command := append(r.command[:len(r.command):len(r.command)], "--listen", freeAddress(t))
			out, err := exec.Command(command[0], append(command[1:], args...)...).CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || bytes.Count(out, []byte("\n")) != 1 {
				t.Errorf("%s %q: %v, %q; want exit status 2 and a line", r.name, args, err, out)
			}
		}
	}
}
