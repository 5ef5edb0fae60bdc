package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestHookOfOneGone: the context of a hook ends also if the peer was gone before the
// hook began.
func TestHookOfOneGone(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]starter{"simnet": onSimnet, "sockets": onSockets, "TLS on sockets": onTLSSockets} {
		t.Run(name, func(t *testing.T) {
			var began, told, late atomic.Int64
			connect, _ := start(t, func(s *server.Server) {
				s.Upgrade = func(r *ws.Request) (server.Accept, error) {
					began.Add(1)
					select {
					case <-r.Context().Done():
						told.Add(1)
					case <-time.After(3 * time.Second):
						late.Add(1)
					}
					return server.Accept{}, r.Context().Err()
				}
			})
			for range 40 {
				c := connect()
				c.send(upgradeTo("/"))
				_ = c.Close()
			}
			eventually(t, "all hooks", func() bool { return told.Load()+late.Load() == 40 })
			if n := late.Load(); n > 0 {
				t.Errorf("%d of %d hooks were not told that their peer is gone", n, began.Load())
			}
		})
	}
}
