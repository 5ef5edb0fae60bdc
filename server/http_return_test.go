package server_test

import (
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
)

// TestMemoryOfPipelinedHeads: a connection that net/http has holds what its peer has
// sent, not MaxHead.
func TestMemoryOfPipelinedHeads(t *testing.T) {
	const conns, maxHead = 100, 1 << 20
	held, release := make(chan struct{}, conns), make(chan struct{})
	addr, _ := startServer(t, func(s *server.Server) {
		s.Limits.Head = maxHead
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				held <- struct{}{}
				<-release
				return
			}
			time.Sleep(20 * time.Millisecond) // the next request comes meanwhile
		})
	})
	defer close(release)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range conns {
		c := dial(t, addr)
		c.send(get("/"))
		time.Sleep(5 * time.Millisecond)
		c.send(get("/hold") + "G")
		<-held
	}
	if got := int64(heap()-before) / conns; got > 128<<10 {
		t.Errorf("%d KiB a connection for 100 bytes from its peer", got>>10)
	}
}
