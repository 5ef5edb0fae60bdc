package gateway_test

import (
	"runtime"
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// BenchmarkConnection is what a connection to one topic takes, in bytes, its client in the same process included: beside
// one that a handler subscribes (plain), with raw payloads, and with envelopes. Run it with -benchtime 2000x.
func BenchmarkConnection(b *testing.B) {
	for name, target := range map[string]string{"plain": "", "raw": "/topics/a", "envelope": "/topics/a?envelope=1"} {
		b.Run(name, func(b *testing.B) {
			srv := &server.Server{}
			hub, err := pubsub.New(srv, pubsub.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer hub.Close()
			g, err := gateway.New(hub, gateway.Options{Open: true})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			srv.Upgrade = g.Upgrade
			if target == "" {
				srv.Upgrade = nil
				srv.Handler = server.HandlerFuncs{OnOpen: func(c *server.Conn) { _, _ = hub.Subscribe(c, "a", pubsub.SubscribeOptions{}) }}
			}
			s := servertest.Start(b, srv)
			before := heap()
			clients := make([]*servertest.Client, 0, b.N)
			for b.Loop() {
				c, err := s.Upgrade(&ws.ClientRequest{Target: max(target, "/")})
				if err != nil {
					b.Fatal(err)
				}
				clients = append(clients, c)
			}
			s.WaitIdle()
			b.ReportMetric(float64(heap()-before)/float64(len(clients)), "conn-B")
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
