//go:build unix

package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowConn takes some MB a second at most.
type slowConn struct{ net.Conn }

func (c slowConn) Read(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return c.Conn.Read(p[:min(len(p), 4096)])
}

// dialSlowly dials for a proxy that is slow, and has the kernels keep little: so they do for small segments.
func dialSlowly(addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, conn syscall.RawConn) (err error) {
		failed := conn.Control(func(fd uintptr) {
			err = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536),
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096))
		})
		return errors.Join(failed, err)
	}}
	conn, err := d.Dial("tcp", addr)
	return slowConn{conn}, err
}

// TestTopicsSlow is TestTopicsResume, and TestTopicsJavaScript, with clients that read too slowly, of a topic whose messages
// are dropped then: each has every message once, in order, or was told before the next one that some are missing.
func TestTopicsSlow(t *testing.T) {
	t.Parallel()
	const end, size = 1000, 10_000
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(5, 6))
	proxy := startProxy(t, func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return 1 + random.Int64N(1<<uint(8+random.IntN(15)))
	}, dialSlowly)
	p := serve(t, nil, "--topics", "--topics-rule", fmt.Sprintf("# messages=%d policy=drop-oldest", end), "--max-message", "30KiB", "--max-queue", "50KiB")
	proxy.to.Store(p.addr)
	url := "http://" + proxy.ln.Addr().String()
	cmd := node(t, "testdata/follow.mjs", url, fmt.Sprint(end), url, "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewReader(out)
	text := strings.Repeat(" x", size/2)
	post(t, p.addr, "a", "1"+text)
	if line, _ := told.ReadString('\n'); line != "following\n" {
		t.Fatal(line)
	}
	var clients sync.WaitGroup
	followers := startFollowers(t, &clients, 4, proxy.ln.Addr().String(), end)
	for n := 2; n <= end; n++ {
		post(t, p.addr, "a", fmt.Sprint(n)+text)
	}
	clients.Wait()
	for i, f := range followers {
		t.Logf("client %d: %d connections, told that %d were dropped", i, f.conns, f.missed)
		if f.last != end || f.told > 0 || f.missed == 0 {
			t.Errorf("client %d: %d messages, told of gaps %d times, and of %d that were dropped", i, f.last, f.told, f.missed)
		}
	}
	var all followed
	if err := json.NewDecoder(told).Decode(&all); err != nil || all.Error != "" {
		t.Fatalf("%v: %+v", err, all)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	all.check(t, end, 0)
	for _, f := range all.Followers {
		if f.Slow == 0 {
			t.Errorf("by %s: never told of dropped messages", f.Transport)
		}
	}
}
